//! Compiles `proto/` to Rust with protox, so that the build needs no `protoc`.

use std::{env, error::Error, fs, path::PathBuf};

const ROOT: &str = "proto";
const PACKAGE: &str = "proto/scangate/v1";
const GOOGLE_APIS: &str = "third_party/googleapis";

fn main() -> Result<(), Box<dyn Error>> {
    // tonic-prost-build prints no inputs when it compiles descriptors.
    println!("cargo:rerun-if-changed={PACKAGE}");
    let mut files =
        fs::read_dir(PACKAGE)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "proto"));
    files.sort();
    // No message of the contract uses it: reflection serves it, so that grpcurl can show error details.
    files.push(PathBuf::from(GOOGLE_APIS).join("google/rpc/error_details.proto"));

    let mut compiler = protox::Compiler::new([ROOT, GOOGLE_APIS])?;
    compiler.include_imports(true).include_source_info(true).open_files(files)?;
    let descriptors = PathBuf::from(env::var("OUT_DIR")?).join("scangate.v1.bin");
    fs::write(&descriptors, compiler.encode_file_descriptor_set())?;

    tonic_prost_build::configure()
        .build_client(true)
        .build_server(true)
        .client_mod_attribute("scangate.v1", "#[cfg(feature = \"client\")]")
        .server_mod_attribute("scangate.v1", "#[cfg(feature = \"server\")]")
        // Maps are encoded in key order, so that equal requests have equal bytes.
        .btree_map(".")
        .extern_path(".google.rpc", "::tonic_types")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
