//! The configurations of the README do what its text says.

use crate::scene::*;
use oidc_filter::config::Config;
use serde_json::json;
use std::rc::Rc;

const README: &str = include_str!("../../README.md");

/// The configuration that follows these words.
fn recipe(words: &str) -> Scene {
    let (_, after) = README.split_once(words).unwrap_or_else(|| panic!("the README has lost {words}"));
    let text = after.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let environment = |name: &str| (name == "INTROSPECTION_CLIENT_SECRET").then(|| "secret".to_owned());
    let mut scene = Scene::with(Rc::new(Config::read(text.as_bytes(), &environment).unwrap()));
    scene.tick();
    scene
}

fn method(method: &str, path: &str) -> Ask {
    get(path).set(":method", Some(method))
}

fn scoped(scope: &str) -> String {
    token(json!({"scope": scope}))
}

#[test]
fn the_smallest_configuration_lets_only_valid_tokens_in() {
    let mut scene = recipe("## The smallest configuration");
    assert_eq!(scene.send(get("/").bearer(&good()).header("x-user", "root")).allowed().header("x-user"), Some("ann"));
    scene.send(get("/")).refused(401, "missing_token");
    scene.send(get("/").bearer(&token(json!({"aud": "https://other.example"})))).refused(401, "wrong_audience");
}

#[test]
fn one_path_only_is_protected() {
    let mut scene = recipe("**One path only.**");
    for path in ["/api", "/api/", "/api/v1/users?a=b"] {
        scene.send(get(path)).refused(401, "missing_token");
        scene.send(get(path).bearer(&scoped("other"))).refused(403, "insufficient_scope");
        scene.send(get(path).bearer(&scoped("api other"))).allowed();
    }
    for path in ["/", "/apis", "/assets/api", "/index.html?/api"] {
        let upstream = scene.send(get(path).header("x-user", "root")).bypassed();
        assert_eq!(upstream.header("x-user"), None, "{path}");
    }
    for path in ["/%61pi", "/x/../api", "//api", "/api%2fv1", "/.;/api", "/x/..%2fapi"] {
        assert!(scene.send(get(path)).upstream_or_none().is_none(), "{path} passes");
    }
}

#[test]
fn reading_is_public_and_writing_private() {
    let mut scene = recipe("**Public reading, private writing.**");
    for reading in ["GET", "HEAD"] {
        let unknown = scene.send(method(reading, "/a").header("x-user", "root")).upstream();
        assert_eq!((unknown.result, unknown.header("x-user")), ("bypassed", None));
        let known = scene.send(method(reading, "/a").bearer(&scoped("read"))).allowed();
        assert_eq!(known.header("x-user"), Some("ann"), "{reading}");
        scene.send(method(reading, "/a").bearer("worthless")).refused(401, "inactive");
    }
    for writing in ["POST", "PUT", "PATCH", "DELETE", "PROPFIND"] {
        scene.send(method(writing, "/a")).refused(401, "missing_token");
        scene.send(method(writing, "/a").bearer(&scoped("read"))).refused(403, "insufficient_scope");
        scene.send(method(writing, "/a").bearer(&scoped("write"))).allowed();
    }
}

#[test]
fn opaque_tokens_are_asked_about() {
    let mut scene = recipe("**Opaque tokens only.**");
    scene.provider.tokens.insert("opaque".to_owned(), active(json!({})));
    assert_eq!(scene.send(get("/").bearer("opaque")).allowed().header("x-user"), Some("ann"));
    scene.send(get("/").bearer("opaque")).allowed();
    assert_eq!(scene.count("/introspect"), 1);
    scene.pass_seconds(61);
    scene.send(get("/").bearer("opaque")).allowed();
    assert_eq!(scene.count("/introspect"), 2);
    scene.send(get("/").bearer("worthless")).refused(401, "inactive");
    scene.send(get("/")).refused(401, "missing_token");
}
