//! The Python client, and Feast's own SDK, against the built binary: runs `clients/python/tests`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;

#[test]
fn the_python_client_and_feasts_sdk_work_with_the_server() {
    let Some(python) = std::env::var_os("TASTEMAKER_PYTHON") else {
        println!("TASTEMAKER_PYTHON is not set; skipped the Python client");
        return;
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../clients/python");
    let mut pytest = Command::new(python);
    pytest.args(["-m", "pytest", "--quiet", "-p", "no:cacheprovider"]).current_dir(folder);
    // Feast asks its own servers for nothing.
    pytest.env("TASTEMAKER_BINARY", env!("CARGO_BIN_EXE_tastemaker")).env("FEAST_USAGE", "False");
    let output = pytest.env("PYTHONDONTWRITEBYTECODE", "1").output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{text}");
    println!("{text}");
}
