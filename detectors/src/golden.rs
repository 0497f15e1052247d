//! Golden numbers of others, read in place; their absence is said.

use serde_json::Value as Json;

pub fn shared(path: &str) -> Option<Json> {
    let folder =
        std::env::var("LEEWAY_SHARED").unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared").into());
    let path = std::path::Path::new(&folder).join("data").join(path);
    if !path.exists() {
        assert!(std::env::var_os("LEEWAY_REQUIRE_SHARED").is_none(), "{} is missing", path.display());
        println!("SKIPPED: {} is not here", path.display());
        return None;
    }
    Some(serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
}
