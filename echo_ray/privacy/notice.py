"""What the service says at its start about what it stores."""

from pathlib import Path

from echo_ray.privacy.config import PrivacyConfig


def notice(config: PrivacyConfig, log_dir: Path) -> str:
    """Lines for people: what is stored where, in which form, for how long, and how to switch it off."""
    less = _fewer(config)
    if config.collect == "off":
        return "Privacy: nothing about completion requests is stored (serve.privacy.collect=off)."
    if config.collect == "metrics":
        return "Privacy: completion requests are counted, none is stored (serve.privacy.collect=metrics)."
    if config.collect == "no_code":
        what = (
            f"Privacy: for every completion request, {log_dir} gets who asked, when, which model answered "
            "and what became of the proposal, but no code (serve.privacy.collect=no_code)."
        )
        off = "Store nothing: serve.privacy.collect=off."
    else:
        what = (
            f"Privacy: for every completion request, {log_dir} gets the code around the cursor, the proposal "
            "and what became of it (serve.privacy.collect=all)."
        )
        off = "Store less: serve.privacy.collect=no_code, metrics or off."
    return "\n".join(line for line in (f"{what} {_kept(config)}", _form(config), f"{off}{less}") if line)


def _kept(config: PrivacyConfig) -> str:
    if config.retention_days is None:
        return "Nothing is removed by age (serve.privacy.retention_days)."
    days = f"{config.retention_days:g}"
    return f"Records are removed after {days} day{'' if days == '1' else 's'} (retention_days={days})."


def _form(config: PrivacyConfig) -> str:
    said = []
    if config.collect == "all":
        if config.redact:
            what = "Credentials and personal data are" if config.personal else "Credentials are"
            said.append(f"{what} replaced before anything is written.")
        else:
            said.append("Credentials are stored as they are (serve.privacy.redact=false).")
    if config.pseudonyms:
        said.append("Names of users, sessions and files are stored as keyed hashes.")
    else:
        said.append("Names are stored as clients send them (serve.privacy.pseudonyms=false).")
    said.append(
        "Files such as .env and keys are completed but never stored (add with serve.privacy.exclude)."
    )
    return " ".join(said)


def _fewer(config: PrivacyConfig) -> str:
    parts = [
        f"{len(rules)} {name if len(rules) > 1 else one}"
        for rules, one, name in (
            (config.tenants, "tenant", "tenants"),
            (config.users, "user", "users"),
            (config.repositories, "repository pattern", "repository patterns"),
        )
        if rules
    ]
    return f" Less may be stored of {', '.join(parts)}." if parts else ""
