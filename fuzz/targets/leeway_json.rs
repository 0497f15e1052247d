#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| leeway_fuzz::message(&leeway_formats::LeewayJson, bytes));
