//! What an MCP server lists, on its way to a client: without what its token may not use.

use crate::scene::*;
use crate::security_limits::in_linear_time;
use crate::support::with;
use oidc_filter::config::Config;
use oidc_filter::decision::ListReader;
use oidc_filter::filter::Body;
use oidc_filter::http::{Edit, Headers};
use serde_json::{Value, json};

const RESOURCE: &str = "https://mcp.example.com/mcp";
const JSON: &[(&str, &str)] = &[(":status", "200"), ("content-type", "application/json"), ("content-length", "9")];
const EVENTS: &[(&str, &str)] = &[(":status", "200"), ("content-type", "text/event-stream; charset=utf-8")];

fn server(mcp: Value) -> Scene {
    let operations = json!({
        "resource": RESOURCE,
        "tools": [{"name": "delete_*", "scopes": ["delete"]}, {"name": "debug", "deny": true}, {"name": "*"}],
        "resources": [{"name": "file:///secret/*", "scopes": ["secrets"]}, {"name": "*"}],
        "default": "deny",
        "filter_lists": true,
    });
    Scene::of(jwt(json!({"audiences": null}), json!({"mcp": with(operations, mcp)})))
}

fn post(scope: &str) -> Ask {
    let token = token(json!({"aud": RESOURCE, "scope": scope}));
    get("/mcp").set(":method", Some("POST")).header("content-type", "application/json").bearer(&token)
}

fn asking(method: &str) -> String {
    json!({"jsonrpc": "2.0", "id": 7, "method": method}).to_string()
}

/// How the response to a request is read that goes on.
fn reading(scene: &mut Scene, ask: Ask, body: &str, head: &[(&str, &str)]) -> Option<ListReader> {
    let upstream = scene.send_body(ask, body).allowed();
    upstream.lists.and_then(|lists| lists.read(&Headers::from_pairs(head.iter().copied())))
}

/// What a client with these scopes gets of a body.
fn listed(scene: &mut Scene, scope: &str, head: &[(&str, &str)], body: &str) -> String {
    let mut reading = reading(scene, post(scope), &asking("tools/list"), head).expect("it lists something");
    let now = scene.now;
    String::from_utf8(reading.pass_on(body.as_bytes(), true, now)).unwrap()
}

fn tools(names: &[&str]) -> Value {
    let tools: Vec<Value> = names.iter().map(|name| json!({"name": name, "inputSchema": {"type": "object"}})).collect();
    json!({"jsonrpc": "2.0", "id": 7, "result": {"tools": tools, "nextCursor": "c", "cacheScope": "public"}})
}

#[test]
fn a_client_sees_the_tools_that_its_token_may_call() {
    let mut scene = server(json!({}));
    let all = tools(&["read", "delete_file", "debug", "delete_all"]).to_string();
    let of =
        |scene: &mut Scene, scope: &str| -> Value { serde_json::from_str(&listed(scene, scope, JSON, &all)).unwrap() };
    let mut expected = tools(&["read"]);
    expected["result"]["cacheScope"] = json!("private");
    assert_eq!(of(&mut scene, "read"), expected);
    let mut expected = tools(&["read", "delete_file", "delete_all"]);
    expected["result"]["cacheScope"] = json!("private");
    assert_eq!(of(&mut scene, "read delete"), expected);
}

#[test]
fn resources_prompts_and_templates_are_filtered_alike() {
    let mut scene = server(json!({"prompts": [{"name": "greet"}]}));
    let lists = json!({"id": 7, "jsonrpc": "2.0", "result": {
        "resources": [{"uri": "file:///public/a"}, {"uri": "file:///secret/a"}, {"uri": "FILE:///x/../secret/b"}],
        "resourceTemplates": [{"uriTemplate": "file:///secret/{path}"}, {"uriTemplate": "file:///public/{path}"}],
        "prompts": [{"name": "greet"}, {"name": "other"}],
        "tools": [{"title": "no name"}, {"name": 7}, "text", {"name": "read", "name2": null}],
    }});
    let seen: Value = serde_json::from_str(&listed(&mut scene, "read", JSON, &lists.to_string())).unwrap();
    let expected = json!({
        "resources": [{"uri": "file:///public/a"}],
        "resourceTemplates": [{"uriTemplate": "file:///public/{path}"}],
        "prompts": [{"name": "greet"}],
        "tools": [{"name": "read", "name2": null}],
    });
    assert_eq!(seen["result"], expected);
}

/// What is in a folder, and skills (SEP-2640), are lists of resources.
#[test]
fn folders_and_skills_are_filtered_too() {
    let mut scene = server(json!({}));
    let entry = |uri: &str| json!({"uri": uri, "frontmatter": {"name": "a"}, "resources": [{"uri": uri}]});
    for (method, member) in [("resources/directory/read", "resources"), ("skills/list", "skills")] {
        let asked =
            json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": {"uri": "file:///public/"}}).to_string();
        let mut reading = reading(&mut scene, post("read"), &asked, JSON).expect("it lists something");
        let entries = [entry("file:///public/SKILL.md"), entry("file:///secret/SKILL.md")];
        let all = json!({"jsonrpc": "2.0", "id": 7, "result": {member: entries, "ttlMs": 1}}).to_string();
        let now = scene.now;
        let seen: Value = serde_json::from_slice(&reading.pass_on(all.as_bytes(), true, now)).unwrap();
        assert_eq!(seen["result"], json!({member: [entry("file:///public/SKILL.md")], "ttlMs": 1}));
    }
}

/// What is not a list goes on byte for byte, and what is keeps its other members as they are written.
#[test]
fn nothing_else_is_changed() {
    let mut scene = server(json!({}));
    for body in [
        r#" {"jsonrpc":"2.0", "id":7,"error":{"code":-32601,"message":"tools"}}"#,
        r#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"{\"tools\":[]}"}]}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#,
        r#"[{"jsonrpc":"2.0","id":7,"result":{}}]"#,
    ] {
        assert_eq!(listed(&mut scene, "read", JSON, body), body);
    }
    let body = r#"{"id":7,"result":{"x":1.50,"tools":[ {"name":"\u0072ead"}, {"name":"debug"}],"y":"\u00e9"},"jsonrpc":"2.0"}"#;
    let expected = r#"{"id":7,"result":{"x":1.50,"tools":[{"name":"\u0072ead"}],"y":"\u00e9"},"jsonrpc":"2.0"}"#;
    assert_eq!(listed(&mut scene, "read", JSON, body), expected);
    let none = r#"{"id":7,"result":{"tools":null},"jsonrpc":"2.0"}"#;
    assert_eq!(listed(&mut scene, "read", JSON, none), none);
    let batch = format!("[{body},{body}]");
    assert_eq!(listed(&mut scene, "read", JSON, &batch), format!("[{expected},{expected}]"));
}

#[test]
fn what_cannot_be_read_is_withheld() {
    let mut scene = server(json!({}));
    let good = tools(&["debug"]).to_string();
    let duplicate = good.replace(r#""result""#, r#""result":{},"result""#);
    let no_list = good.replace("[", "{\"a\":[").replace(']', "]}");
    let bad = ["", "debug", "{", &format!("{good} debug"), &format!("\u{feff}{good}"), &duplicate, &no_list];
    for body in bad {
        let seen: Value = serde_json::from_str(&listed(&mut scene, "read", JSON, body)).unwrap();
        assert_eq!((&seen["id"], &seen["error"]["code"]), (&json!(7), &json!(-32603)), "{body}");
        assert!(!seen.to_string().contains("debug"), "{body}");
    }
    for head in [
        &[(":status", "200"), ("content-type", "application/json"), ("content-encoding", "gzip")][..],
        &[(":status", "200"), ("content-type", "text/html")],
        &[(":status", "200"), ("content-type", "application/json; charset=iso-8859-1")],
        &[(":status", "200"), ("content-type", "text/event-stream;q=1; Charset = \"UTF-16LE\"")],
        &[(":status", "200"), ("content-type", "text/event-stream;charset=utf-8, text/event-stream;charset=utf-16")],
        &[(":status", "203")],
        &[(":status", "200"), ("content-type", "application/json"), ("content-type", "text/event-stream")],
    ] {
        let mut reading = reading(&mut scene, post("read"), &asking("tools/list"), head).unwrap();
        assert!(reading.edits.contains(&Edit::Set("content-type".into(), b"application/json".to_vec())));
        assert!(reading.edits.contains(&Edit::Remove(b"content-encoding".to_vec())));
        let first = reading.pass_on(good.as_bytes(), false, scene.now);
        assert!(String::from_utf8(first).unwrap().contains("-32603"), "{head:?}");
        assert_eq!(reading.pass_on(good.as_bytes(), true, scene.now), b"");
    }
}

#[test]
fn a_text_is_read_when_it_is_whole_and_no_longer_than_is_read() {
    let mut scene = server(json!({"max_body_size": 1024}));
    let mut reading = reading(&mut scene, post("read"), &asking("tools/list"), JSON).unwrap();
    assert!(reading.edits.contains(&Edit::Remove(b"content-length".to_vec())));
    assert!(reading.waits_at(0) && reading.waits_at(1024) && !reading.waits_at(1025));
    let long = tools(&["read"; 100]).to_string();
    let first = reading.pass_on(long.as_bytes(), false, scene.now);
    assert!(String::from_utf8(first).unwrap().contains("-32603"));
    assert!(!reading.waits_at(1));
    assert_eq!(reading.pass_on(b"more", true, scene.now), b"");
}

/// HTML standard, section 9.2: whatever ends the lines, and wherever the stream is cut.
#[test]
fn of_a_stream_each_event_is_filtered_when_it_is_whole() {
    let mut scene = server(json!({}));
    let list = tools(&["read", "debug"]).to_string();
    let progress = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1}}"#;
    let mut expected = tools(&["read"]);
    expected["result"]["cacheScope"] = json!("private");
    for end in ["\n", "\r\n", "\r"] {
        let (first, second) = list.split_at(list.find(',').unwrap() + 1);
        let stream = [
            ":keep",
            "",
            "id: 1",
            "data",
            "",
            &format!("data:{progress}"),
            "",
            "event: message",
            &format!("data: {first}"),
            &format!("data: {second}"),
            "id: 2",
            "",
            "retry: 9",
            "",
            "",
        ]
        .join(end);
        for cut in 1..stream.len() {
            let mut reading = reading_of(&mut scene);
            let mut seen = reading.pass_on(&stream.as_bytes()[..cut], false, scene.now);
            seen.extend(reading.pass_on(&stream.as_bytes()[cut..], false, scene.now));
            let seen = String::from_utf8(seen).unwrap();
            assert!(!seen.contains("debug"), "{cut}: {seen}");
            assert!(
                seen.starts_with(&[":keep", "", "id: 1", "data", "", &format!("data:{progress}"), "", ""].join(end))
            );
            let data = seen.lines().find_map(|line| line.strip_prefix("data: {")).unwrap();
            assert_eq!(serde_json::from_str::<Value>(&format!("{{{data}")).unwrap(), expected, "{cut}");
            assert!(seen.contains("event: message\nid: 2\ndata: ") && seen.ends_with(&format!("retry: 9{end}{end}")));
        }
    }
}

fn reading_of(scene: &mut Scene) -> ListReader {
    // The token is known after the first time.
    let upstream = scene.send_body(post("read"), asking("tools/list")).allowed();
    upstream.lists.unwrap().read(&Headers::from_pairs(EVENTS.iter().copied())).unwrap()
}

#[test]
fn an_event_that_cannot_be_read_is_withheld() {
    let mut scene = server(json!({"max_body_size": 1024}));
    let list = tools(&["debug"]).to_string();
    for event in [
        format!("data: {list} x\n\n"),
        format!("\u{feff}data: {list}{list}\n\n"),
        format!("data: x{list}\n\n"),
        format!("id: 1\ndata: {list}\ndata: {list}\n\n"),
        // Not ended: some clients take it for an event nevertheless.
        format!("data: {list}"),
    ] {
        let mut reading = reading_of(&mut scene);
        let seen = String::from_utf8(reading.pass_on(event.as_bytes(), true, scene.now)).unwrap();
        assert!(!seen.contains("debug"), "{event}: {seen}");
    }
    let mut reading = reading_of(&mut scene);
    assert_eq!(reading.pass_on(b"event: endpoint\ndata: /messages?a=b\n\n", false, scene.now).len(), 37);
    let seen = reading.pass_on(format!("data: {}", "x".repeat(2000)).as_bytes(), false, scene.now);
    assert!(String::from_utf8(seen).unwrap().contains("-32603"));
    assert_eq!(reading.pass_on(b"\n\ndata: debug\n\n", false, scene.now), b"");
}

/// A byte order mark before a stream is none of its text (HTML standard, section 9.2.5). Some readers look for one in each part that
/// comes, and find other lines behind it.
#[test]
fn a_byte_order_mark_hides_no_list() {
    let mut scene = server(json!({}));
    let list = tools(&["read", "debug"]).to_string();
    let (first, rest) = list.split_at(1);
    for stream in [format!("data: {list}\n\n"), format!("data: {first}\r\ndata: {rest}\r\n\r\n")] {
        let stream = format!("\u{feff}{stream}").into_bytes();
        for cut in 1..8 {
            let mut reading = reading_of(&mut scene);
            let mut seen = reading.pass_on(&stream[..cut], false, scene.now);
            seen.extend(reading.pass_on(&stream[cut..], true, scene.now));
            let seen = String::from_utf8(seen).unwrap();
            assert!(seen.starts_with("data: {") && seen.contains("read") && !seen.contains("debug"), "{cut}: {seen}");
        }
    }
    let comment = b": one\n\n";
    for event in [
        format!("\u{feff}data: {{\"a\":\ndata: {list}\n\u{feff}data: }}\n\n"),
        format!("data: {{\"a\":\n\u{feff}\ndata: {list}\n\u{feff}\ndata: }}\n\n"),
        format!("\u{feff}data: {list}\n\n"),
    ] {
        let mut reading = reading_of(&mut scene);
        let mut seen = reading.pass_on(comment, false, scene.now);
        seen.extend(reading.pass_on(event.as_bytes(), true, scene.now));
        let seen = String::from_utf8(seen).unwrap();
        assert!(!seen.contains("debug") && seen.contains("-32603"), "{event}: {seen}");
    }
    for short in ["\u{feff}", "\u{feff}: one\n\n", "\u{feff}\n\n"] {
        let mut reading = reading_of(&mut scene);
        let seen = reading.pass_on(short.as_bytes(), true, scene.now);
        assert_eq!(String::from_utf8(seen).unwrap(), short.trim_start_matches('\u{feff}'));
    }
}

/// Spring writes a stream in the charset that a client asks for: no line of it begins with `data` to who takes it for UTF-8.
#[test]
fn a_charset_hides_no_list() {
    let mut scene = server(json!({}));
    let get = get("/mcp").bearer(&token(json!({"aud": RESOURCE, "scope": "read"})));
    let lists = scene.send(get).allowed().lists.unwrap();
    let event = format!("data:{}\n\n", tools(&["read", "debug"]));
    let wide: Vec<u8> = event.encode_utf16().flat_map(u16::to_be_bytes).collect();
    for charset in ["utf-16", "\"UTF-16BE\"", "IBM037", "utf-8;charset=utf-16", ""] {
        let head = [(":status", "200"), ("content-type", &format!("text/event-stream; charset={charset}"))];
        let mut reading = lists.clone().read(&Headers::from_pairs(head)).unwrap();
        assert_eq!(reading.pass_on(&wide, true, scene.now), b"", "{charset}");
    }
    for charset in ["utf-8", "UTF8", "\"Utf-8\"", "\"utf8\"", "utf-8;profile=a"] {
        let head = [(":status", "200"), ("content-type", &format!("text/event-stream;charset={charset}"))];
        let mut reading = lists.clone().read(&Headers::from_pairs(head)).unwrap();
        assert!(String::from_utf8(reading.pass_on(event.as_bytes(), true, scene.now)).unwrap().contains("read"));
    }
}

/// What a service sends takes time in proportion to its length, whatever it is made of.
#[test]
fn a_flood_of_events_takes_no_more_time_than_their_bytes() {
    let mut scene = server(json!({}));
    for event in ["\n", "\r\n", ":\n\n"] {
        let flood = event.repeat((1 << 20) / event.len());
        let mut reading = reading_of(&mut scene);
        in_linear_time(event, || assert_eq!(reading.pass_on(flood.as_bytes(), false, scene.now), flood.as_bytes()));
    }
}

/// An answer can come again to a client that resumes a stream.
#[test]
fn the_stream_of_a_get_is_filtered_too() {
    let mut scene = server(json!({}));
    let get = get("/mcp").bearer(&token(json!({"aud": RESOURCE, "scope": "read"}))).header("accept-encoding", "gzip");
    let upstream = scene.send(get).allowed();
    assert_eq!(upstream.header("accept-encoding"), None);
    let lists = upstream.lists.unwrap();
    let mut reading = lists.clone().read(&Headers::from_pairs(EVENTS.iter().copied())).unwrap();
    let event = format!("id: 4\ndata: {}\n\n", tools(&["read", "debug"]));
    let seen = String::from_utf8(reading.pass_on(event.as_bytes(), false, scene.now)).unwrap();
    assert!(seen.contains("read") && !seen.contains("debug"));
    // Nobody waits for an answer here.
    assert_eq!(reading.pass_on(b"data: {x\n\n", false, scene.now), b"");
    for types in
        [&["text/event-stream", "text/event-stream"][..], &["text/event-stream,text/event-stream;charset=utf-8"]]
    {
        let head = [(":status", "200")].into_iter().chain(types.iter().map(|said| ("content-type", *said)));
        let mut reading = lists.clone().read(&Headers::from_pairs(head)).unwrap();
        let seen = String::from_utf8(reading.pass_on(event.as_bytes(), false, scene.now)).unwrap();
        assert!(seen.contains("read") && !seen.contains("debug"), "{types:?}");
    }
    // A browser takes the last of several types, others the first.
    for types in
        [&["text/html,text/event-stream"][..], &["Text/Event-Stream, text/html"], &["text/html", "text/event-stream"]]
    {
        let head = [(":status", "200")].into_iter().chain(types.iter().map(|said| ("content-type", *said)));
        let mut reading = lists.clone().read(&Headers::from_pairs(head)).unwrap();
        assert_eq!(reading.pass_on(event.as_bytes(), false, scene.now), b"", "{types:?}");
    }
    for head in [&[(":status", "200"), ("content-type", "text/html")][..], &[(":status", "405")], JSON] {
        assert!(lists.clone().read(&Headers::from_pairs(head.iter().copied())).is_none(), "{head:?}");
    }
}

/// A service that opens the stream reads no body, and may answer before that has come.
#[test]
fn the_stream_of_a_get_with_a_body_is_filtered_too() {
    let event = format!("data: {}\n\n", tools(&["read", "debug"]));
    let newest = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "ping")];
    for (source, body, says) in [
        ("auto", "", &[][..]),
        ("auto", &asking("ping"), &[]),
        ("auto", &asking("tools/list"), &[]),
        ("auto", &asking("ping"), &newest),
        ("headers", &asking("ping"), &newest),
    ] {
        let mut scene = server(json!({"source": source}));
        let ask =
            says.iter().fold(post("read").set(":method", Some("GET")), |ask, (name, value)| ask.header(name, value));
        let stream = scene.begin(ask.with_body());
        scene.settle();
        let before = scene.seen(stream).allowed().lists;
        let after = scene.bring(stream, Body::Whole(body.as_bytes())).allowed().lists;
        for lists in [before, after] {
            let lists = lists.unwrap_or_else(|| panic!("{source} {body}"));
            let mut reading = lists.read(&Headers::from_pairs(EVENTS.iter().copied())).unwrap();
            let seen = String::from_utf8(reading.pass_on(event.as_bytes(), false, scene.now)).unwrap();
            assert!(seen.contains("read") && !seen.contains("debug"), "{source} {body}: {seen}");
        }
    }
}

/// What another request is answered, in two parts.
fn answered(scene: &mut Scene, head: &[(&str, &str)], body: &[u8], cut: usize) -> Vec<u8> {
    let call = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"read"}}"#;
    let mut reading = reading(scene, post("read"), call, head).expect("a list could come");
    assert!(reading.edits.is_empty() && !reading.waits_at(1));
    let (first, rest) = body.split_at(cut);
    [reading.pass_on(first, false, scene.now), reading.pass_on(rest, true, scene.now)].concat()
}

/// Services that find the stream of an answer by the `id` of its request can be brought to confuse two.
#[test]
fn a_list_that_nobody_asked_for_goes_no_further_than_its_name() {
    let mut scene = server(json!({}));
    let list = tools(&["read", "debug"]).to_string();
    let escaped = list.replace("\"tools\"", "\"t\\u006fols\"").replace("\"result\"", "\"r\\u0065sult\"");
    let inner = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"text":"a \"b\\"}],"_meta":{"result":{"tools":[]}},"#;
    let late = format!(r#"{inner}"resources":[{{"uri":"debug:1"}}]}}}}"#);
    let batch = format!(r#"[{{"jsonrpc":"2.0","method":"a"}},{list}]"#);
    for body in [&list, &escaped, &late, &batch] {
        let events = format!("\u{feff}: \"\r\rid: {{\r\ndata: {{\"a\":1}}\r\n\r\nevent: a\r\ndata:\rdata: {body}\n\n");
        for (head, text) in [(JSON, body), (EVENTS, &events)] {
            for cut in 0..=text.len() {
                let seen = String::from_utf8(answered(&mut scene, head, text.as_bytes(), cut)).unwrap();
                assert!(seen.len() == text.len() && !seen.contains("debug"), "{cut}: {seen}");
                assert!(text.starts_with(seen.trim_end()) && seen.contains("jsonrpc"), "{cut}: {seen}");
            }
        }
    }
    for form in [("content-encoding", "gzip"), ("content-type", "text/event-stream"), ("content-range", "bytes 9-/99")]
    {
        let head: Vec<_> = JSON.iter().copied().chain([form]).collect();
        let mut reading = reading(&mut scene, post("read"), &asking("ping"), &head).unwrap();
        let seen = String::from_utf8(reading.pass_on(list.as_bytes(), true, scene.now)).unwrap();
        assert!(seen.contains(r#""id":7,"error""#), "{seen}");
    }
}

/// Nobody knows yet what is asked for.
#[test]
fn an_answer_that_comes_before_the_body_of_its_request_lists_nothing() {
    let mut scene = server(json!({}));
    let stream = scene.begin(post("read").with_body());
    scene.settle();
    let lists = scene.seen(stream).allowed().lists.unwrap();
    for head in [JSON, EVENTS] {
        let mut reading = lists.clone().read(&Headers::from_pairs(head.iter().copied())).unwrap();
        let body = format!("{}{}\n\n", if head == JSON { "" } else { "data: " }, tools(&["debug"]));
        let seen = String::from_utf8(reading.pass_on(body.as_bytes(), true, scene.now)).unwrap();
        assert!(!seen.contains("debug") && seen.len() == body.len(), "{seen}");
    }
}

/// An answer of any length goes on as it comes, octet for octet.
#[test]
fn the_answer_to_another_request_goes_on_as_it_comes() {
    let mut scene = server(json!({"max_body_size": 1024}));
    let long = "x\\\"".repeat(1000);
    for body in [
        r#"{"jsonrpc":"2.0","id":7,"result":{"content":[],"structuredContent":{"tools":[{"resources":[1]}]}}}"#,
        r#"{"jsonrpc":"2.0","id":7,"result":{"capabilities":{"tools":{},"prompts":{}},"structuredContent":{"result":{"tools":1}}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{"result":1,"tools":[]}}"#,
        r#"{"jsonrpc":"2.0","id":7,"error":{"tools":[],"data":{"result":{"tools":1}}}}"#,
        r#"{"result":{"a":"\"tools\":","to":["tools"],"tool":{},"Tools":1,"toolsx":2,"t\\u":"tools"},"tools":[]}"#,
        &format!(r#"{{"jsonrpc":"2.0","id":7,"result":{{"content":[{{"text":"{long}"}}]}}}}"#),
        "}}}}{{{\"result\":{\"tools\":1",
        "\u{0}\"",
        "",
    ] {
        let events =
            format!("id: 1\ndata: {body}\n\n\ndata:{body}\rtools: {{\"result\":{{\"tools\":[]}}}}\r\n\r\ndat\n");
        for (head, text) in [(JSON, body), (EVENTS, &events)] {
            for cut in (0..=text.len()).step_by(text.len() / 100 + 1) {
                assert_eq!(answered(&mut scene, head, text.as_bytes(), cut), text.as_bytes(), "{cut}: {text:.300}");
            }
        }
    }
    // Nobody finds a message in these.
    for head in [&[(":status", "200"), ("content-type", "text/html")][..], &[(":status", "400")]] {
        assert!(reading(&mut scene, post("read"), &asking("ping"), head).is_none(), "{head:?}");
    }
    let accepted = &[(":status", "202")];
    assert_eq!(answered(&mut scene, accepted, b"", 0), b"");
}

/// A part of a stream can begin behind `data:`. Apache takes one out of every answer whose length it knows, to a POST, too.
#[test]
fn no_part_of_a_list_can_be_asked_for() {
    let mut scene = server(json!({}));
    let get = get("/mcp").bearer(&token(json!({"aud": RESOURCE, "scope": "read"})));
    for (ask, body) in [(get, ""), (post("read"), &asking("tools/list"))] {
        let ask = if body.is_empty() { ask } else { ask.with_body() };
        let stream = scene.begin(ask.header("range", "bytes=40-"));
        scene.settle();
        let upstream = scene.seen(stream).allowed();
        assert_eq!(upstream.header("range"), None);
        for media_type in ["text/event-stream", "multipart/byteranges; boundary=a"] {
            let head = [(":status", "206"), ("content-type", media_type), ("content-range", "bytes 40-999/1000")];
            let mut reading = upstream.lists.clone().unwrap().read(&Headers::from_pairs(head)).unwrap();
            let seen = reading.pass_on(b"ls\":[{\"name\":\"debug\"}]}}\n\n", true, scene.now);
            assert!(!String::from_utf8(seen).unwrap().contains("debug"), "{media_type}");
        }
    }
}

#[test]
fn only_answers_to_those_who_ask_are_read() {
    let mut scene = server(json!({}));
    assert!(reading(&mut scene, post("read"), &asking("tools/list"), &[(":status", "401")]).is_none());
    for method in ["tools/list", "prompts/list", "resources/list", "resources/templates/list"] {
        assert!(reading(&mut scene, post("read"), &asking(method), JSON).is_some(), "{method}");
    }
    // By the headers alone, whose `id` nobody knows.
    let mut scene = server(json!({"source": "headers"}));
    let newest = post("read").header("mcp-protocol-version", "2026-07-28").header("mcp-method", "tools/list");
    let mut reading = reading(&mut scene, newest, &asking("tools/list"), JSON).unwrap();
    let seen = reading.pass_on(b"debug", true, scene.now);
    assert!(String::from_utf8(seen).unwrap().contains(r#""id":null"#));
    // Not wanted.
    let mut scene = server(json!({"filter_lists": false}));
    let upstream = scene.send_body(post("read").header("accept-encoding", "br"), asking("tools/list")).allowed();
    assert_eq!((upstream.header("accept-encoding"), upstream.lists.as_ref()), (Some("br"), None));
}

#[test]
fn there_must_be_something_to_hold_lists_against() {
    let mcp = json!({"resource": RESOURCE, "filter_lists": true});
    let config = jwt(json!({"audiences": null}), json!({"mcp": mcp}));
    let error = Config::read(config.to_string().as_bytes(), &|_: &str| None).unwrap_err().to_string();
    assert!(error.starts_with("mcp.filter_lists: "), "{error}");
}
