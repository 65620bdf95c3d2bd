#!/usr/bin/env bash
# serve.sh start [--driver|--trust] | stop : a VS Code server on 127.0.0.1:$PORT out of $VSCODE (see get-vscode.sh), all state under $RUN.
#
# It runs server-main.js itself: only that takes --enable-smoke-test-driver, which a built VS Code needs before it runs an
# extension's tests. With the driver VS Code shows no notifications and refuses dialogs, so UI tests run without it.
# With --trust a folder has to be trusted first, as on a person's own machine.
# $EXTRA_ENV is what the extension host sees besides HOME and PATH; $SETTINGS are further lines of its settings.json.
set -euo pipefail
: "${RUN:?}" "${PORT:?}" "${VSCODE:?}"
case ${1:-start} in
start)
  trust=false flags=--disable-workspace-trust
  case ${2:-} in --driver) flags+=' --enable-smoke-test-driver' ;; --trust) trust=true flags= ;; esac
  mkdir -p "$RUN/user/User" "$RUN/user/Machine" "$RUN/ext" "$RUN/ws"
  cat > "$RUN/user/Machine/settings.json" <<J
{ "workbench.startupEditor": "none", "telemetry.telemetryLevel": "off", "update.mode": "none", "extensions.autoUpdate": false,
  "extensions.autoCheckUpdates": false, "security.workspace.trust.enabled": $trust, "workbench.tips.enabled": false,
  "terminal.integrated.gpuAcceleration": "off", "chat.disableAIFeatures": true, "git.enabled": false, "window.commandCenter": false,
  "workbench.secondarySideBar.defaultVisibility": "hidden", "workbench.enableExperiments": false${SETTINGS:+, $SETTINGS} }
J
  cp "$RUN/user/Machine/settings.json" "$RUN/user/User/settings.json"
  # shellcheck disable=SC2086
  env -i HOME="$RUN" PATH="$PATH" LANG=C.UTF-8 ${EXTRA_ENV:-} setsid "$VSCODE/node/bin/node" "$VSCODE/cs/lib/vscode/out/server-main.js" \
    --host 127.0.0.1 --port "$PORT" --without-connection-token --accept-server-license-terms $flags --server-data-dir "$RUN/user" \
    --user-data-dir "$RUN/user" --extensions-dir "$RUN/ext" --telemetry-level off --log info \
    > "$RUN/server.log" 2>&1 < /dev/null &
  echo $! > "$RUN/pid"
  for _ in $(seq 1 240); do curl -fsS -o /dev/null "http://127.0.0.1:$PORT/version" 2> /dev/null && exit 0; sleep 0.25; done
  echo "VS Code did not start"; tail "$RUN/server.log"; exit 1 ;;
stop)
  [ -f "$RUN/pid" ] || exit 0
  pid=$(cat "$RUN/pid"); kill "$pid" 2> /dev/null || true
  for _ in $(seq 1 40); do kill -0 "$pid" 2> /dev/null || break; sleep 0.1; done
  # Its own process group: the extension host and its children.
  kill -9 -- "-$pid" 2> /dev/null || true
  rm -f "$RUN/pid" ;;
esac
