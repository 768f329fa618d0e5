"""What the commands that make Moneta's next signing key say of it."""

from moneta.application.ports import PublishedKey


def rotation_lines(key: PublishedKey, *, is_new: bool) -> list[str]:
    """Return what there is to know of the next key; ``is_new``: it was made now."""
    found = "made" if is_new else "made before, and waiting"
    return [f"hub key {key.public.key_id}", f"signs from {key.not_before} (Unix seconds); {found}"]
