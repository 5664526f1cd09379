# ucspi-tcp tcpserver, which starts tlssrv for each connection, which starts the command; TLSSRV is the
# program, if it is not in PATH
kind=exec
needs="tcpserver ${TLSSRV:-tlssrv}"
run() {
    exec tcpserver -q -H -R -l localhost -c 8000 -b 1024 "$HOST" "$PORT" \
        "${TLSSRV:-tlssrv}" -c "$CERT" --key "$KEY" "$CMD"
}
