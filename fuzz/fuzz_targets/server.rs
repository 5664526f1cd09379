#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tlssrv::tls::psk::fuzzing::server(data));
