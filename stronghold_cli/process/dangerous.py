"""Names of environment variables that make a program run, load or trust something else (protocol rule R17; attack 46).

Whoever may write a profile decides what the child's variables hold; with these names they would decide what it *runs*.
They are refused unless the person who runs the command allows a name (``--allow-name``). Five kinds:

    loader       what is loaded into each program, and glibc's own switches (the "unsecure" list of its loader)
    interpreter  options, start-up files and module paths of shells, languages and their tools
    command      variables that hold a command, or the place of a configuration that can hold one
    trust        which certificates are believed, and keys of TLS written to a file
    own          which server, token and certificates this program would use inside the child

Not refused: proxies (``HTTP_PROXY``, …), which pipelines keep as secrets for their passwords; TLS holds through a proxy as
long as the names of the kind "trust" cannot be set. Names are compared as they stand, as POSIX does, but for npm's, which
reads its own in any case; and in any case where the names may reach Windows, which takes ``Path`` for ``PATH``.
"""

from __future__ import annotations

_LOADER = """
    GCONV_PATH GETCONF_DIR GLIBC_TUNABLES HOSTALIASES LOCALDOMAIN LOCPATH NIS_PATH NLSPATH RESOLV_HOST_CONF RES_OPTIONS
    TMPDIR TZDIR LIBPATH SHLIB_PATH OPENSSL_CONF OPENSSL_ENGINES OPENSSL_MODULES GIO_EXTRA_MODULES GIO_MODULE_DIR GTK_MODULES
    GTK_PATH QT_PLUGIN_PATH TERMINFO TERMINFO_DIRS TERMCAP
"""
_INTERPRETER = """
    PATH HOME SHELL ENV IFS CDPATH FPATH ZDOTDIR PS0 PS1 PS2 PS4 PROMPT_COMMAND BASH_ENV BASH_XTRACEFD BASH_LOADABLES_PATH
    BASHOPTS SHELLOPTS XDG_CONFIG_HOME XDG_CONFIG_DIRS INPUTRC MAILPATH MODULE_PATH PROMPT prompt RPROMPT RPS1
    COMSPEC PATHEXT SYSTEMROOT USERPROFILE WINDIR PSEXECUTIONPOLICYPREFERENCE PSMODULEPATH PSModulePath
    PYTHONBREAKPOINT PYTHONCASEOK PYTHONEXECUTABLE PYTHONHOME PYTHONINSPECT PYTHONPATH PYTHONPLATLIBDIR PYTHONPYCACHEPREFIX
    PYTHONSTARTUP PYTHONUSERBASE PYTHONWARNINGS PYTHON_PRESITE
    NODE_OPTIONS NODE_PATH NODE_REPL_EXTERNAL_MODULE BUN_OPTIONS
    PERL5DB PERL5LIB PERL5OPT PERLIO_DEBUG PERLLIB
    BUNDLE_GEMFILE GEM_HOME GEM_PATH RUBYLIB RUBYOPT RUBYSHELL
    CATALINA_OPTS CLASSPATH GRADLE_OPTS JAVA_HOME JAVA_OPTS JAVA_TOOL_OPTIONS JDK_JAVA_OPTIONS MAVEN_OPTS SBT_OPTS
    _JAVA_OPTIONS
    CORECLR_ENABLE_PROFILING CORECLR_PROFILER COR_ENABLE_PROFILING COR_PROFILER DOTNET_ADDITIONAL_DEPS DOTNET_SHARED_STORE
    DOTNET_STARTUP_HOOKS
    PHPRC PHP_INI_SCAN_DIR R_ENVIRON R_ENVIRON_USER R_LIBS R_LIBS_USER R_PROFILE R_PROFILE_USER JULIA_LOAD_PATH
    ERL_AFLAGS ERL_FLAGS ERL_LIBS ERL_ZFLAGS ELIXIR_ERL_OPTIONS GHCRTS OCAMLRUNPARAM TCLLIBPATH
    CC CXX CPP CFLAGS CXXFLAGS COMPILER_PATH GCC_EXEC_PREFIX GOFLAGS GOTOOLCHAIN GOROOT MAKEFILES MAKEFLAGS
    RUSTC RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER RUSTFLAGS CARGO_HOME
"""
_COMMAND = """
    BROWSER EDITOR FCEDIT VISUAL PAGER MANPAGER AWS_PAGER LESS LESSOPEN LESSCLOSE NULLCMD READNULLCMD
    SSH_ASKPASS SUDO_ASKPASS SUDO_EDITOR EXINIT VIMINIT EMACSLOADPATH
    CVS_RSH RSYNC_RSH TAR_OPTIONS CURL_HOME WGETRC PSQLRC KUBECONFIG KUBE_EDITOR DOCKER_CONFIG AWS_CONFIG_FILE
    GIT_ASKPASS GIT_COMMON_DIR GIT_DIR GIT_EDITOR GIT_EXEC_PATH GIT_EXTERNAL_DIFF GIT_PAGER GIT_PROXY_COMMAND
    GIT_SEQUENCE_EDITOR GIT_SSH GIT_SSH_COMMAND GIT_TEMPLATE_DIR GIT_WORK_TREE GIT_ALLOW_PROTOCOL
"""
_TRUST = """
    SSL_CERT_FILE SSL_CERT_DIR SSLKEYLOGFILE REQUESTS_CA_BUNDLE CURL_CA_BUNDLE NODE_EXTRA_CA_CERTS
    NODE_TLS_REJECT_UNAUTHORIZED
    PYTHONHTTPSVERIFY GIT_SSL_CAINFO GIT_SSL_CAPATH GIT_SSL_NO_VERIFY AWS_CA_BUNDLE PIP_CERT
"""
_OWN = """
    STRONGHOLD_TOKEN STRONGHOLD_TOKEN_FILE API_STRONGHOLD_TOKEN STRONGHOLD_SESSION STRONGHOLD_URL STRONGHOLD_PROFILE
    STRONGHOLD_CA_FILE STRONGHOLD_ALLOW_HTTP STRONGHOLD_REQUIRE_MARK STRONGHOLD_SESSION_STORE
"""
_PREFIXES = {
    "LD_": "loader",
    "DYLD_": "loader",
    "MALLOC_": "loader",
    "_RLD": "loader",
    "BASH_FUNC_": "interpreter",
    "LUA_INIT": "interpreter",
    "LUA_PATH": "interpreter",
    "LUA_CPATH": "interpreter",
    "CORECLR_PROFILER_PATH": "interpreter",
    "COR_PROFILER_PATH": "interpreter",
    "GIT_CONFIG": "command",
}
_NPM = frozenset(
    f"npm_config_{name}"
    for name in (
        "git",
        "globalconfig",
        "ignore_scripts",
        "node_options",
        "prefix",
        "script_shell",
        "shell",
        "userconfig",
        "cafile",
    )
)
_KINDS = {
    name: kind
    for kind, names in (
        ("loader", _LOADER),
        ("interpreter", _INTERPRETER),
        ("command", _COMMAND),
        ("trust", _TRUST),
        ("own", _OWN),
    )
    for name in names.split()
}


def danger(name: str, *, any_case: bool = False) -> str:
    """The kind of danger that lies in a variable's name (see above), or empty where there is none.

    ``any_case``: where the names may reach Windows, which does not tell upper case from lower.
    """
    if any_case:
        name = name.upper()
    if name in _KINDS:
        return _KINDS[name]
    for prefix, kind in _PREFIXES.items():
        if name.startswith(prefix):
            return kind
    return "interpreter" if name.lower() in _NPM else ""
