//! The page that people see, in a real browser: it must render the API that the server describes.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use tastemaker_testkit::{Project, ServerProcess};

/// What a headless browser shows at `url`, as HTML, once its scripts have run.
fn rendered(browser: &str, url: &str, profile: &Path) -> String {
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"])
        .args(["--disable-background-networking", "--disable-component-update", "--virtual-time-budget=10000"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(["--dump-dom", url])
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn the_api_page_renders_every_operation() {
    let Ok(browser) = std::env::var("TASTEMAKER_BROWSER") else {
        println!("TASTEMAKER_BROWSER is not set; skipped the page in a browser");
        return;
    };
    let project = Project::new("[project]\nname = \"page\"\n");
    let binary = Path::new(env!("CARGO_BIN_EXE_tastemaker"));
    let server = ServerProcess::start(binary, &project.file(), &project.path().join("server.log")).await;
    let profile = project.path().join("browser");
    let url = server.client().url("/docs/");
    let page = tokio::task::spawn_blocking(move || rendered(&browser, &url, &profile)).await.unwrap();
    let shown: String = page.replace("<wbr>", "").replace("\u{200b}", "");
    for path in ["/v1/recommendations", "/v1/events", "/v1/items", "/v1/rank", "/v1/models"] {
        assert!(shown.contains(path), "{path} is not on the page:\n{}", &shown[..shown.len().min(2_000)]);
    }
}
