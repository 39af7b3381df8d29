"""docs/operations.md and the Containerfile: their commands are typed in a root folder that is thrown away."""

import re
import shutil
from pathlib import Path

import pytest
from clean_root import can_be_made, run_in_clean_root

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.long, pytest.mark.skipif(not can_be_made(), reason="no root that may mount")]

# What stands in for systemd and apt: systemctl runs the command of the unit as its user, with its environment.
SYSTEMCTL = r"""#!/bin/bash -eu
stop() { [ ! -s /run/$1.pid ] || { pid=$(cat /run/$1.pid); kill $pid; while [ -e /proc/$pid ]; do sleep 0.1; done; }; }
torc() {
    unit=/etc/systemd/system/torc-server.service
    install -d -o torc -g torc -m 0750 /var/lib/torc; install -d -o torc -g torc /run/torc
    cd /var/lib/torc
    command=$(sed -n 's/^ExecStart=//p' $unit)
    setsid setpriv --reuid torc --regid torc --init-groups --inh-caps=-all env HOME=/var/lib/torc \
        $(sed -n 's/^Environment=//p' $unit) $command >>/tmp/torc.log 2>&1 </dev/null & echo $! > /run/torc-server.pid
    for i in $(seq 300); do grep -q "torc-server .* serves" /tmp/torc.log && return; sleep 0.1; done
    cat /tmp/torc.log >&2; exit 1
}
case "$*" in
daemon-reload|enable*) ;;
"start torc-server.service"*) torc ;;
"restart torc-server") stop torc-server; : > /tmp/torc.log; torc ;;
"reload torc-server") before=$(grep -c "Reloaded; changed" /tmp/torc.log || true)
    kill -HUP $(cat /run/torc-server.pid)
    for i in $(seq 300); do
        [ $(grep -c "Reloaded; changed" /tmp/torc.log) -le $before ] || exit 0; sleep 0.1
    done
    cat /tmp/torc.log; exit 1 ;;
*"status torc-server.service") kill -0 $(cat /run/torc-server.pid) ;;
"restart nginx") stop nginx; nginx; sleep 0.5 ;;
*) echo "systemctl $*: not known" >&2; exit 1 ;;
esac
"""


def blocks():
    """The sh blocks of the guide."""
    return re.findall(r"```sh\n(.*?)```", (ROOT / "docs/operations.md").read_text(), re.S)


NEEDED = ("nginx", "logrotate", "curl", "openssl", "setpriv", "ip")


@pytest.mark.skipif(not all(map(shutil.which, NEEDED)), reason=f"needs {', '.join(NEEDED)}")
def test_the_commands_of_the_guide_lead_from_an_empty_host_to_a_served_team(tmp_path):
    """Packages are fetched first; all else runs without a network, on ports that nobody else has."""
    script = f"""
cat > /usr/local/bin/systemctl <<'SYSTEMCTL'
{SYSTEMCTL}
SYSTEMCTL
printf '#!/bin/sh\\n' > /usr/local/bin/apt-get
chmod +x /usr/local/bin/systemctl /usr/local/bin/apt-get
userdel torc 2>/dev/null || true
grep -q '^www-data:' /etc/passwd || useradd --system www-data
python3 -m venv /wheels/venv
/wheels/venv/bin/pip wheel --quiet --wheel-dir /wheels '/opt/torc/src[embedded]' setuptools wheel
cat > /guide <<'GUIDE'
set -eux
ip link set lo up
export PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels
{"".join(blocks())}
curl --silent --fail --cacert /etc/ssl/torc/fullchain.pem --resolve torc.example.org:443:127.0.0.1 \\
    https://torc.example.org/torc-service/v1/ping && exit 1
echo "the guide is done"
GUIDE
exec unshare --net sh /guide
"""
    done = run_in_clean_root(tmp_path, script)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert '{"status":"ok"}' in done.stdout.replace(" ", "")
    assert done.stdout.endswith("the guide is done\n")


def test_the_steps_of_the_containerfile_give_a_server(tmp_path):
    """Without a builder: its RUN lines, and its CMD as its user."""
    text = re.sub(r"\\\n", " ", (ROOT / "deploy/container/Containerfile").read_text())
    steps = re.findall(r"^RUN (.*)$", text, re.M)
    environment = dict(re.findall(r"(\w+)=(\S+)", re.search(r"^ENV (.*)$", text, re.M)[1]))
    assert len(steps) == 4
    assert "\nCOPY . /src\n" in text and '\nCMD ["torc-server", "run"]\n' in text
    del environment["PATH"]
    environment |= {"TORC_REQUIRE_AUTH": "false", "TORC_AUTH_FILE": "", "TORC_PORT": "0"}
    settings = " ".join(f"{name}={value}" for name, value in environment.items())
    script = f"""
userdel torc 2>/dev/null || true
mv /opt/torc/src /src
{chr(10).join(steps)}
cd /data
setpriv --reuid 1001 --regid 0 --clear-groups env HOME=/data {settings} \\
    timeout -s TERM 20 /opt/torc/venv/bin/torc-server run || [ $? = 124 ]
"""
    done = run_in_clean_root(tmp_path, script)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert "TORC_SERVER_PORT=" in done.stdout
    assert "Stopping PostgreSQL" in done.stderr
