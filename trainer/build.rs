//! Lets the trainer's binary and tests find libtorch without LD_LIBRARY_PATH.

fn main() {
    // torch-sys says where it linked libtorch from; a run path to that folder goes into
    // whatever is linked here. Other platforms' linkers do not know the option.
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    if std::env::var("CARGO_CFG_TARGET_FAMILY").as_deref() == Ok("unix")
        && let Ok(folder) = std::env::var("DEP_TCH_LIBTORCH_LIB")
    {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{folder}");
    }
}
