"""The cold start of each AWS Lambda function, under AWS's own runtime client: until it asks for its first call."""

from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.progress import Tell
from benchmarks.sections import Figures
from tests.aws_lambda.runtime_api import Function, function_environment

MODULE: Final = "moneta.entrypoints.aws_lambda"
FUNCTIONS: Final = (
    "authorizer",
    "ingestor",
    "processor",
    "dispatcher",
    "relay",
    "sweep",
    "dead_letters",
    "management",
)
ROUNDS: Final = 7
NOWHERE: Final = "http://127.0.0.1:1"
"""Where the services are: a function asks none of them before its first call."""


def cold_section(_folder: Path, on_progress: Tell, _seconds: float | None) -> Figures:
    """Start every function in turn, some rounds long, after one that compiles; return the medians."""
    functions = {name: Function(f"{MODULE}.{name}.handler", function_environment(name, NOWHERE)) for name in FUNCTIONS}
    wall_ms: dict[str, list[float]] = {name: [] for name in FUNCTIONS}
    cpu_ms: dict[str, list[float]] = {name: [] for name in FUNCTIONS}
    try:
        for number in range(ROUNDS + 1):
            on_progress(f"round {number} of {ROUNDS}", number, ROUNDS)
            for name, function in functions.items():
                function.restart()
                if number > 0:
                    wall_ms[name].append(function.start_ms)
                    cpu_ms[name].append(function.start_cpu_ms)
    finally:
        for function in functions.values():
            function.close()
    figures: Figures = {}
    for name in FUNCTIONS:
        figures |= {f"cold_ms_{name}": round(median(wall_ms[name])), f"cold_cpu_ms_{name}": round(median(cpu_ms[name]))}
    return figures
