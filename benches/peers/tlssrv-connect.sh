# tlssrv, which forwards to a backend that listens; TLSSRV is the program, if it is not in PATH
kind=term
needs=${TLSSRV:-tlssrv}
run() {
    local up=$BACKEND
    [[ $up = /* ]] && up=unix:$up
    cat > tlssrv.toml <<-END
	engines = $THREADS
	engine-user = "nobody"
	[limits]
	connections = 9000
	per-source = 0
	[[listen]]
	address = "$HOST:$PORT"
	unknown-name = "default"
	[[host]]
	default = true
	cert = ["$CERT"]
	key = ["$KEY"]
	connect = "$up"
	END
    exec "${TLSSRV:-tlssrv}" -f tlssrv.toml
}
