"""Names of variables that would decide what a command runs (rule R17)."""

from __future__ import annotations

import pytest

from stronghold_cli.process.dangerous import danger


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (
            "loader",
            "LD_PRELOAD LD_LIBRARY_PATH LD_AUDIT DYLD_INSERT_LIBRARIES GLIBC_TUNABLES LOCPATH MALLOC_CHECK_",
        ),
        (
            "interpreter",
            "PATH IFS ENV BASH_ENV SHELLOPTS BASH_FUNC_x PS4 PROMPT_COMMAND PYTHONPATH PYTHONSTARTUP PYTHONHOME",
        ),
        (
            "interpreter",
            "NODE_OPTIONS PERL5OPT PERL5LIB RUBYOPT RUBYLIB JAVA_TOOL_OPTIONS _JAVA_OPTIONS JDK_JAVA_OPTIONS LUA_INIT_5_4",
        ),
        (
            "interpreter",
            "npm_config_script_shell NPM_CONFIG_SCRIPT_SHELL HOME MAKEFLAGS RUSTC_WRAPPER DOTNET_STARTUP_HOOKS PHPRC",
        ),
        (
            "command",
            "GIT_SSH_COMMAND GIT_SSH GIT_ASKPASS GIT_CONFIG_COUNT GIT_CONFIG_KEY_0 GIT_EXTERNAL_DIFF EDITOR PAGER LESSOPEN",
        ),
        (
            "interpreter",
            "MAILPATH INPUTRC PROMPT RPROMPT MODULE_PATH COMSPEC PATHEXT WINDIR USERPROFILE PSModulePath PSMODULEPATH",
        ),
        ("command", "FCEDIT NULLCMD READNULLCMD LESS AWS_PAGER"),
        ("trust", "SSL_CERT_FILE SSL_CERT_DIR NODE_EXTRA_CA_CERTS REQUESTS_CA_BUNDLE CURL_CA_BUNDLE SSLKEYLOGFILE"),
        (
            "own",
            "STRONGHOLD_TOKEN API_STRONGHOLD_TOKEN STRONGHOLD_TOKEN_FILE STRONGHOLD_URL",
        ),
    ],
)
def test_names_that_change_what_runs_are_dangerous(kind: str, names: str) -> None:
    assert {name: danger(name) for name in names.split()} == dict.fromkeys(names.split(), kind)


HARMLESS = """
    DATABASE_URL API_KEY NODE_ENV PYTHON_VERSION PATH_PREFIX GIT_COMMIT GIT_AUTHOR_NAME HTTPS_PROXY http_proxy ENVIRONMENT
    NPM_TOKEN npm_config_registry PIP_INDEX_URL AWS_SECRET_ACCESS_KEY JAVA_VERSION LDAP_URL STRONGHOLD_NAME RUBY_VERSION
"""


def test_names_that_profiles_hold_are_not() -> None:
    assert [name for name in HARMLESS.split() if danger(name)] == []


def test_names_that_may_reach_windows_are_dangerous_in_any_case() -> None:
    names = "Path pathExt ComSpec PSModulePath SystemRoot ld_preload Node_Options npm_Config_Prefix git_config_count"
    assert [name for name in names.split() if not danger(name, any_case=True)] == []
    assert [name for name in HARMLESS.split() if danger(name, any_case=True)] == []
    assert danger("Path") == danger("Node_Options") == ""
