//! Compiles `proto/` to Rust with protox, so that no `protoc` is needed on the machine.

use std::{env, error::Error, fs, path::PathBuf};

const ROOT: &str = "proto";
const PACKAGE: &str = "proto/scangate/v1";

fn main() -> Result<(), Box<dyn Error>> {
    // tonic-prost-build names no inputs of its own when it is handed descriptors.
    println!("cargo:rerun-if-changed={PACKAGE}");
    let mut files =
        fs::read_dir(PACKAGE)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "proto"));
    files.sort();
    // Not used by any message of ours: reflection serves it, so that grpcurl can show what errors carry.
    files.push(PathBuf::from(ROOT).join("google/rpc/error_details.proto"));

    let mut compiler = protox::Compiler::new([ROOT])?;
    compiler.include_imports(true).include_source_info(true).open_files(files)?;
    let descriptors = PathBuf::from(env::var("OUT_DIR")?).join("scangate.v1.bin");
    fs::write(&descriptors, compiler.encode_file_descriptor_set())?;

    tonic_prost_build::configure()
        .build_client(true)
        .build_server(true)
        .client_mod_attribute("scangate.v1", "#[cfg(feature = \"client\")]")
        .server_mod_attribute("scangate.v1", "#[cfg(feature = \"server\")]")
        // Encoded in one order, so that the same request has the same bytes.
        .btree_map(".")
        .extern_path(".google.rpc", "::tonic_types")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
