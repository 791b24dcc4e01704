# SPDX-License-Identifier: Apache-2.0
#
# Programs, libraries and files from Debian packages. What counts is that they are there, not which package had them:
# names differ between releases.

is_root() { [ "$(id -u)" = 0 ]; }

as_root() {
    if is_root; then "$@"; else sudo "$@"; fi
}

need_root() {
    is_root || command -v sudo >/dev/null ||
        fail_with 77 "$1 needs root, and there is no sudo: run this as root"
}

need_root_later() { need_root "running Wattline"; }

# KIND:NAME
is_there() {
    kind=${1%%:*} name=${1#*:}
    case $kind in
    program) command -v "$name" >/dev/null ;;
    answer) "$name" --version >/dev/null 2>&1 ;;
    static) command -v "$name" >/dev/null && ! ldd "$(command -v "$name")" 2>/dev/null | grep -q "=>" ;;
    library) ldconfig -p 2>/dev/null | grep -q "[[:space:]]$name " ;;
    module) /usr/bin/python3 -c "import $name" 2>/dev/null ;;
    directory) [ -d "$name" ] ;;
    file) [ -f "$name" ] ;;
    esac
}

# KIND:NAME as a person says it.
in_words() {
    case $1 in
    answer:*) printf 'working program %s' "${1#*:}" ;;
    static:*) printf 'statically linked program %s' "${1#*:}" ;;
    module:*) printf 'Python module %s' "${1#*:}" ;;
    *) printf '%s %s' "${1%%:*}" "${1#*:}" ;;
    esac
}

# KIND:NAME PACKAGE...: notes what is missing. Of the packages the first that apt knows has it.
wanted=
want() {
    is_there "$1" || wanted="$wanted$*
"
}

apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o APT::Update::Error-Mode=any -o Acquire::Retries=1 \
        -o Acquire::http::Timeout=15 -o Acquire::https::Timeout=15 "$@"
}

lists_are_new=no
refresh_lists() {
    [ $lists_are_new = yes ] && return
    command -v apt-get >/dev/null ||
        fail "${1} is missing, and there is no apt-get: this sets up Debian and Ubuntu; for others see docs/install.md"
    need_root "installing the package that has ${1}"
    say "updating the package lists"
    try "apt-get update failed" "Check the network and apt's sources, then run this again" apt_get update
    lists_are_new=yes
}

apt_knows() { apt-cache show --no-all-versions "$1" 2>/dev/null | grep -q '^Package:'; }

# WHAT PACKAGE...: sets `package`.
choose_package() {
    what=$1
    shift
    for package in "$@"; do
        apt_knows "$package" && return
    done
    fail "$what is missing, and apt knows no package that has it (tried: $*)." \
        "Add Debian's main or Ubuntu's universe to apt's sources, or install it by hand, then run this again"
}

install_packages() {
    say "installing Debian packages: $*"
    try "apt-get could not install $*" "Mend that, then run this again" apt_get install -y --no-install-recommends "$@"
}

install_wanted() {
    [ -n "$wanted" ] || return 0
    first=${wanted%%[ 
]*}
    refresh_lists "$(in_words "$first")"
    packages=
    chosen=
    while read -r check names; do
        [ -n "$check" ] || continue
        # shellcheck disable=SC2086 one word per package
        choose_package "$(in_words "$check")" $names
        case " $packages " in *" $package "*) ;; *) packages="$packages $package" ;; esac
        chosen="$chosen$check $package
"
    done <<END
$wanted
END
    # shellcheck disable=SC2086 one word per package
    install_packages $packages
    while read -r check package; do
        [ -z "$check" ] || is_there "$check" || fail "expected $(in_words "$check") after installing the package" \
            "$package, and it is not there. Install it by hand, then run this again"
    done <<END
$chosen
END
}
