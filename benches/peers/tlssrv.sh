# tlssrv, which accepts by itself; TLSSRV is the program, if it is not in PATH
kind=exec
needs=${TLSSRV:-tlssrv}
run() {
    exec "${TLSSRV:-tlssrv}" --listen "$HOST:$PORT" -c "$CERT" --key "$KEY" "$CMD"
}
