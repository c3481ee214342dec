"""The hot commands that read a whole profile: ``env pull``, ``run`` and ``env run``. Their options stand in ``declared``."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence

from stronghold_cli.commands.reading import ReadProfile, mask, read_profile
from stronghold_cli.output import configure, confirm, emit_bytes, interactive, say, settings, warn
from stronghold_cli.protocol.errors import LocalFileError, NotFound, UsageError

# What is written in these formats becomes the environment of processes: of a shell, of every later step of a job (R17).
_FOR_PROCESSES = ("shell", "github", "docker", "compose", "systemd", "powershell")
# These may be read on Windows, which does not tell upper case from lower.
_FOR_WINDOWS = ("github", "powershell")


def pull(
    *,
    profile: str | None,
    output: str | None,
    format_name: str | None,
    reader: str | None,
    strict: bool,
    allow: Sequence[str] | None,
    base64_keys: Sequence[str] | None,
    only: str | None,
    exclude: str | None,
    force: bool,
    allow_name: Sequence[str] | None,
    token: str | None,
    token_file: str | None,
) -> None:
    """Write a profile's secrets as a .env, or in another format, to stdout or to a file.

    Example: stronghold env pull --profile production -o .env
    """
    from stronghold_cli.formats.options import Options
    from stronghold_cli.formats.table import render

    path = None if output in (None, "-") else output
    chosen_format = _format(format_name, path, reader)
    _require_fitting(chosen_format, reader, strict=strict, allow=allow)
    told = "" if path is None else leave_to_replace(path, force=force)
    if told is None:
        return
    read = read_profile(token, token_file, profile)
    chosen = _chosen(read, only, exclude)
    values = _in_base64(chosen, base64_keys or (), read)
    options = Options(strict=strict, allowed=frozenset(allow or ()), path=path or "", title=read.profile_name)
    # Who names a reader has it put the values into a process, as the formats for processes do.
    if chosen_format in _FOR_PROCESSES or reader is not None:
        _require_safe_names(values, allow_name or (), any_case=chosen_format in _FOR_WINDOWS)
    rendered = render(chosen_format, values, random=os.urandom, reader=reader, options=options)
    mask(chosen.values())  # their base64 forms, too
    for note in rendered.notes:
        warn(note)
    if path is None:
        emit_bytes(rendered.content)
        return
    _write(path, rendered.content)
    if told:
        say(told)
    say(f"Wrote {_count(len(values))} of {read.profile_name!r} (version {read.version}) to {path}.")


def leave_to_replace(path: str, *, force: bool) -> str | None:
    """``None`` where a target must stay: it is somebody else's, and the person on the terminal said no.

    Else what to say once it is replaced, which is something where it is somebody else's and nobody could be asked.
    """
    if not _is_foreign(path) or force:
        return ""
    if not interactive():
        return f"{path} was not written by stronghold; it was replaced."
    if confirm(f"{path} was not written by stronghold. Replace it?", False):
        return ""
    say("Nothing was written.")
    return None


def run(
    *,
    command: Sequence[str],
    profile: str | None,
    allow_name: Sequence[str] | None,
    token: str | None,
    token_file: str | None,
    quiet: bool,
    debug: bool,
) -> None:
    """Run a command with a profile's secrets in its environment; it takes this process's place.

    Example: stronghold run --profile production -- ./server --port 8000
    """
    from stronghold_cli.process.hardening import allow_core_dumps
    from stronghold_cli.process.run import child_environment, execute

    current = settings()
    configure(quiet=quiet or current.quiet, json=current.json, debug=debug or current.debug)
    read = read_profile(token, token_file, profile)
    values = _chosen(read, None, None)
    environment = child_environment(values, os.environb, allow_name or ())
    mask(values.values())
    execute(command, environment, before=allow_core_dumps)


def _require_safe_names(values: dict[str, bytes], allowed: Collection[str], *, any_case: bool) -> None:
    from stronghold_cli.process.run import require_safe_name

    for name in values:
        require_safe_name(name, allowed, any_case=any_case)


def _chosen(read: ReadProfile, only: str | None, exclude: str | None) -> dict[str, bytes]:
    """The values asked for; a name that does not exist is an error, so that nothing is missing in silence.

    Without either option the names that the folder's, or else the user's, settings give under ``only`` are meant.
    """
    from stronghold_cli.keystore.profile_choice import folder_settings, user_settings

    if only is not None and exclude is not None:
        raise UsageError("--only and --exclude were both given.", hint="Give one of them.")
    values = read.values()
    given = only if only is not None else exclude
    names = _names(given) if given is not None else (folder_settings().only or user_settings().only)
    for name in names:
        if name not in values:
            raise NotFound(f"There is no secret {name[:60]!r} in the profile {read.profile_name!r}.", hint=read.names_hint())
    if exclude is not None:
        return {name: value for name, value in values.items() if name not in names}
    return {name: values[name] for name in names} if only is not None or names else values


def _require_fitting(format_name: str, reader: str | None, *, strict: bool, allow: Sequence[str] | None) -> None:
    """Tell a format, a reader or an option that does not exist or fit before anything is asked of the server."""
    from stronghold_cli.formats.table import load

    load(format_name, reader)
    for given, name in ((strict, "--strict"), (bool(allow), "--allow")):
        if given and (format_name != "dotenv" or reader is not None):
            what = format_name if reader is None else f"{format_name} for {reader}"
            raise UsageError(f"{name} is for the default dotenv: {what} is exact anyhow.", hint=f"Leave {name} out.")


def _in_base64(values: dict[str, bytes], names: Sequence[str], read: ReadProfile) -> dict[str, bytes]:
    """The values, those of ``names`` in base64; a name that is not written is an error."""
    from stronghold_cli.protocol.encoding import encode_base64

    for name in names:
        if name not in values:
            raise NotFound(f"There is no secret {name[:60]!r} to write in base64.", hint=read.names_hint())
    return {name: encode_base64(value).encode() if name in names else value for name, value in values.items()}


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _format(wanted: str | None, path: str | None, reader: str | None) -> str:
    """The format asked for, that of reader, folder or user, or the default; a runner's own file takes ``github`` alone."""
    from stronghold_cli.formats.table import DEFAULT_FORMAT
    from stronghold_cli.keystore.profile_choice import folder_settings, user_settings

    if path is None or not is_command_file(path):
        if wanted is None and reader is not None:
            return "dotenv"
        return wanted or folder_settings().format or user_settings().format or DEFAULT_FORMAT
    if wanted not in (None, "github"):
        raise UsageError(
            f"{path} is read by GitHub's runner, which does not take the format {wanted[:40]!r}.",
            hint="Give --format github, or leave --format out.",
        )
    return "github"


def _is_foreign(path: str) -> bool:
    """Look at a target before anything is asked of the server; whether it is a file that somebody else wrote."""
    if is_command_file(path):
        return False
    from stronghold_cli.formats.target import prepare_target

    state = prepare_target(path)
    if state.in_git_unignored:
        warn(f"{path} lies in a git work tree and git does not ignore it; add it to .gitignore")
    return state.exists and not state.ours


def _write(path: str, content: bytes) -> None:
    if not is_command_file(path):
        from stronghold_cli.formats.target import write_target

        write_target(path, content)
        return
    try:
        _append(path, content)
    except OSError as error:
        raise LocalFileError(f"{path} cannot be written: {error.strerror}.", hint="Check the path.") from error


def _append(path: str, content: bytes) -> None:
    """Add whole lines to a file; where not all of them fit, none of them stay."""
    with open(path, "a+b", buffering=0) as stream:
        size = stream.seek(0, os.SEEK_END)
        if size:
            stream.seek(size - 1)
            content = content if stream.read(1) == b"\n" else b"\n" + content
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[stream.write(rest) :]
        except OSError:
            stream.truncate(size)
            raise


def is_command_file(path: str) -> bool:
    """Whether the target is one of the files by which a GitHub Actions step speaks: these are added to, never replaced."""
    return bool(path) and any(path == os.environ.get(name) for name in ("GITHUB_ENV", "GITHUB_OUTPUT"))


def _count(number: int) -> str:
    return "1 secret" if number == 1 else f"{number} secrets"
