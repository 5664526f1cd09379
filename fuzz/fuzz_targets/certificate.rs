#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tlssrv::fuzzing::certificate(data));
