#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let limits = hemapatch::limits::Limits::default();
    let _ = hemapatch::dicom::Object::read(data, &limits);
});
