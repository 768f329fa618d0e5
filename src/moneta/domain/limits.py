"""Every limit the hub keeps, with its number and unit. ``docs/limits.md`` lists the same names; a test compares.

Protocol, section 11, for those that a client sees.
"""

from typing import Final

# fmt: off
EVENT_BYTES_MAX:             Final = 256 * 1024
BODY_BYTES_MAX:              Final = 128 * 1024
TEMPLATE_BYTES_MAX:          Final = 64 * 1024
MANAGEMENT_BYTES_MAX:        Final = 256 * 1024
PROTECTED_HEADER_BYTES_MAX:  Final = 2 * 1024
COMPACT_JWS_BYTES_MAX:       Final = 16 * 1024
TOKEN_BYTES_MAX:             Final = 4 * 1024
SIGNATURES_MAX:              Final = 16
JSON_DEPTH_MAX:              Final = 16
JSON_INTEGER_MAX:            Final = 2**53 - 1
REASON_CHARS_MAX:            Final = 500
REASON_CODE_CHARS_MAX:       Final = 64
JTI_CHARS_MAX:               Final = 128
DESCRIPTION_CHARS_MAX:       Final = 1_000
NAME_CHARS_MAX:              Final = 200
TEXT_CHARS_MAX:              Final = 2_000
PATTERN_CHARS_MAX:           Final = 256
TEMPLATE_DEPTH_MAX:          Final = 16
TEMPLATE_ROLES_MAX:          Final = 16
TEMPLATE_NODES_MAX:          Final = 5_000
TEMPLATE_PROBLEMS_MAX:       Final = 100
TEMPLATE_PATTERNS_MAX:       Final = 32
TEMPLATE_SUBSCHEMAS_MAX:     Final = 1_000
TEMPLATE_VERSION_MAX:        Final = 2**31 - 1
TEMPLATES_COMPILED_MAX:      Final = 256
PATTERN_AUTOMATON_BYTES_MAX: Final = 1024 * 1024
MONEY_DECIMALS_MAX:          Final = 8
LIST_LIMIT_MAX:              Final = 200
LIST_LIMIT_DEFAULT:          Final = 50
RSA_BITS_MIN:                Final = 2048
RSA_BITS_MAX:                Final = 4096
SECRET_BYTES_MIN:            Final = 24
WEBHOOK_SIGNATURES_MAX:      Final = 8
WEBHOOK_SIGNATURE_CHARS_MAX: Final = 1_024
KEYS_PER_ORGANIZATION_MAX:   Final = 100
CERTIFICATES_MAX:            Final = 20
METADATA_MEMBERS_MAX:        Final = 50
LIST_MEMBERS_MAX:            Final = 100
CERTIFICATE_CHARS_MAX:       Final = 16 * 1024
URL_CHARS_MAX:               Final = 2_048
CURSOR_CHARS_MAX:            Final = 512
IDEMPOTENCY_KEY_CHARS_MAX:   Final = 255
WEBHOOK_SECRETS_MAX:         Final = 4
DIRECTORY_TRIES_MAX:         Final = 5

CLOCK_SKEW_S:                Final = 300
FIRST_SIGNATURE_AGE_S_MAX:   Final = 24 * 3600
KEY_PROOF_AGE_S_MAX:         Final = 300
TOKEN_LIFETIME_S_MAX:        Final = 15 * 60
TOKEN_AHEAD_S_MAX:           Final = 60
TOKEN_LEEWAY_S:              Final = 5
TOKENS_REMEMBERED_MAX:       Final = 4_096
HEADERS_REMEMBERED_MAX:      Final = 4_096
ORDERS_REMEMBERED_MAX:       Final = 1_024
MOMENTS_REMEMBERED_MAX:      Final = 64
SECRET_OVERLAP_S_MAX:        Final = 24 * 3600
EXPIRES_IN_S_MAX:            Final = 10 * 366 * 24 * 3600
EXPIRY_GRACE_S:              Final = 2
WEBHOOK_AGE_S_MAX:           Final = 300

INGEST_BATCH_MAX:            Final = 256
PROCESS_BATCH_MAX:           Final = 128
PROCESS_LOOK_BATCHES:        Final = 8
PROCESS_ROUNDS_MAX:          Final = 16
INGEST_TURN_MS:              Final = 2
PROCESS_TURN_MS:             Final = 3
DELIVER_TURN_MS:             Final = 3
RECORD_TURN_MS:              Final = 3
PROCESS_LEASE_S:             Final = 60
PROCESS_TRIES_MAX:           Final = 10
DELIVER_BATCH_MAX:           Final = 256
DELIVER_LEASE_S:             Final = 60
ATTEMPT_ANSWER_BYTES_KEPT:   Final = 1_024
ATTEMPTS_MAX:                Final = 100
REPLAY_MAX:                  Final = 1_000
REPLAY_WRITE_MAX:            Final = 100
ANSWER_BYTES_MAX:            Final = 256 * 1024
RETRY_AFTER_S_MAX:           Final = 3_600
CACHE_ENTRIES_MAX:           Final = 10_000
BACKLOG_COUNTED_MAX:         Final = 100_000

KEEP_DELIVERIES_DAYS:        Final = 30
KEEP_DEAD_DAYS:              Final = 90
KEEP_EVENTS_DAYS:            Final = 400
KEEP_EVENTS_DAYS_MIN:        Final = 7
KEEP_ANSWERS_DAYS:           Final = 30
KEEP_DAYS_MAX:               Final = 36_500
FORGET_BATCH_MAX:            Final = 128
FORGET_EVERY_S:              Final = 3_600
CHECKED_CONTRACTS_MAX:       Final = 1_000
BACKUP_WAL_BYTES_MAX:        Final = 2 * 1024**3

HEAD_BYTES_MAX:              Final = 32 * 1024
HEAD_S_MAX:                  Final = 10
REQUEST_S_MAX:               Final = 13
ANSWER_S_MAX:                Final = 13
KEEP_ALIVE_S_MAX:            Final = 30
SHUTDOWN_S_MAX:              Final = 5
REFUSED_BODY_BYTES_MAX:      Final = 16 * 1024 * 1024
CONNECTIONS_MAX:             Final = 4_096
EVENTS_WAITING_MAX:          Final = 4_096
CALLS_WAITING_MAX:           Final = 256
CALLS_OF_CALLER_MAX:         Final = 64
TOKENS_WAITING_MAX:          Final = 256
FALSE_TOKENS_MAX:            Final = 100
HELD_BYTES_MAX:              Final = 64 * 1024 * 1024
HELD_BYTES_OF_CALLER_MAX:    Final = 32 * 1024 * 1024
BACKLOG_LAG_MS_MIN:          Final = 150
BACKLOG_LAG_MS_MAX:          Final = 4_000
BACKLOG_EVENTS_MIN:          Final = 256
BACKLOG_EVENTS_MAX:          Final = 10_000
BUSY_RETRY_S_MAX:            Final = 30
HEARTBEAT_LATE_MS:           Final = 300
DELIVERY_LAG_MS_MAX:         Final = 30_000

SEND_TIMEOUT_S:              Final = 15
CONNECT_TIMEOUT_S:           Final = 5
RESOLVE_TIMEOUT_S:           Final = 5
RESOLVE_EVERY_S:             Final = 60
ADDRESSES_MAX:               Final = 64
ANSWER_HEADER_CHARS_MAX:     Final = 256
LOOKUPS_MAX:                 Final = 64
CLIENTS_MAX:                 Final = 256
IDLE_CONNECTIONS_MAX:        Final = 32
ENDPOINTS_REMEMBERED_MAX:    Final = 4_096
FORGOTTEN_TRIES_MAX:         Final = 2
PRIVATE_FILE_BYTES_MAX:      Final = 64 * 1024
SENDS_MAX:                   Final = 512
SENDS_PER_ENDPOINT_MAX:      Final = 32
SENDS_PER_ENDPOINT_CROWDED_MAX: Final = 8
ENDPOINT_FAILING_S_MAX:      Final = 5 * 24 * 3600
CIRCUIT_FAILURES_MAX:        Final = 5
CIRCUIT_WAIT_S_MIN:          Final = 5
CIRCUIT_WAIT_S_MAX:          Final = 120
RECORD_TRIES_MAX:            Final = 20
DRAIN_S_MAX:                 Final = 5
DISPATCH_RECORD_S:           Final = 5
SWEEP_RESERVE_S:             Final = 10
ANNOUNCE_AHEAD_S:            Final = 120
PROCESS_RETRY_S_MAX:         Final = 60
ANNOUNCE_S_MAX:              Final = 900
QUERY_FIELDS_MAX:            Final = 32
HEARTBEAT_AGE_S_MAX:         Final = 10
PROBE_AGE_S_MAX:             Final = 1
PROBE_S_MAX:                 Final = 2
TURN_S_MAX:                  Final = 30
LAG_S_MAX:                   Final = 60
DISK_FREE_BYTES_MIN:         Final = 64 * 1024 * 1024
SPANS_WAITING_MAX:           Final = 4_096
SPANS_SENT_MAX:              Final = 512
SPANS_TURN_S:                Final = 1
SPANS_CLOSE_S_MAX:           Final = 1
LIBRARY_LINE_S:              Final = 60
STOP_S_MAX:                  Final = 9
START_S_MAX:                 Final = 30
RESTART_WAIT_S_MAX:          Final = 10
# fmt: on

RETRY_SCHEDULE_S: Final = (0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Waits before each attempt of a delivery, in seconds; after the last failed one it is dead."""
