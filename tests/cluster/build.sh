#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Builds kube-apiserver from Debian's source package `kubernetes`, whose Go modules are all in it.
#
#   build.sh SOURCE PROGRAM    SOURCE: the unpacked package; PROGRAM: the file to make. go is in the PATH.
#
# The package keeps no generated OpenAPI definitions, and the server does not start without them: openapi-gen, which is
# in it too, makes them first. Cloud providers are left out (the tag providerless).
set -eu

source=$(realpath "$1") program=$(realpath "$2")
work=$(mktemp -d "${TMPDIR:-/tmp}/go.XXXXXX")
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
export GOPATH="$work/path" GOCACHE="$work/cache" GO111MODULE=off CGO_ENABLED=0 GOFLAGS= HOME="$work"
mkdir -p "$GOPATH/src/k8s.io"
ln -s "$source" "$GOPATH/src/k8s.io/kubernetes"
cd "$GOPATH/src/k8s.io/kubernetes"

version=v$(sed -n 's/.*really\(.*\)-[^-]*).*/\1/p; 1q' debian/changelog)
modules=k8s.io/kubernetes/vendor/k8s.io
definitions=$(find pkg staging/src -name '*.go' ! -name '*_test.go' ! -path '*/testdata/*' ! -path '*/_examples/*' \
    ! -path '*/sample-*' -exec grep -l '^// *+k8s:openapi-gen=' {} + |
    sed 's,/[^/]*$,,; s,^staging/src/,vendor/,; s,^,k8s.io/kubernetes/,' | LC_ALL=C sort -u | paste -sd, -)

echo "$(date +%T) building openapi-gen"
go build -o "$work/openapi-gen" $modules/kube-openapi/cmd/openapi-gen
echo "$(date +%T) making OpenAPI definitions"
"$work/openapi-gen" --logtostderr -O zz_generated.openapi -p k8s.io/kubernetes/pkg/generated/openapi \
    -i "$definitions" -h hack/boilerplate/boilerplate.generatego.txt -r "$work/violations" --output-base "$GOPATH/src"
echo "$(date +%T) building kube-apiserver $version"
go build -tags providerless -o "$work/kube-apiserver" \
    -ldflags "-s -w -X $modules/component-base/version.gitVersion=$version \
        -X $modules/client-go/pkg/version.gitVersion=$version" k8s.io/kubernetes/cmd/kube-apiserver
"$work/kube-apiserver" --version
mv "$work/kube-apiserver" "$program"
echo "$(date +%T) ready"
