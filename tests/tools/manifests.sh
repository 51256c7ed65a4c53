#!/usr/bin/env bash
# Has config/compose and config/kubernetes validated against their schemas, by tools that bring the schemas with them, and their parts
# against each other and against the program. No engine is needed, and none runs them. Installs the tools under .tools/manifests,
# versions pinned, without root.
#
#   tests/tools/manifests.sh PROGRAM     PROGRAM: a built redhold
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
program=$(realpath "$1")
cd "$repo"
venv=.tools/manifests
check_jsonschema=0.39.0
kubernetes_validate=1.37.0
# The newest that the tool knows, and one that is three years old.
kubernetes="1.37 1.29"

version_of() {
    "$venv/bin/python" -c 'import importlib.metadata as m, sys; print(m.version(sys.argv[1]))' "$1" 2>/dev/null || true
}

if [[ $(version_of check-jsonschema) != "$check_jsonschema" || $(version_of kubernetes-validate) != "$kubernetes_validate" ]]; then
    rm -rf "$venv"
    mkdir -p "$(dirname "$venv")"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check \
        "check-jsonschema==$check_jsonschema" "kubernetes-validate==$kubernetes_validate"
fi

"$venv/bin/check-jsonschema" --builtin-schema vendor.compose-spec config/compose/compose.yaml
for version in $kubernetes; do
    "$venv/bin/kubernetes-validate" --strict --quiet -k "$version" config/kubernetes/*.yaml
    echo "manifests.sh: config/kubernetes is valid for Kubernetes $version"
done
"$venv/bin/python" tests/tools/manifests.py "$program"
