//! What the readers of the configuration ask for: found by letting them read, with each object that they know put in.
//!
//! A reader asks for its fields whether they are there or not, so an empty object is enough to hear of most of them. What it
//! misses or minds is told by its error, and put right by trying, until it has asked for all.

use oidc_filter::config::{Config, Environment, Error, FieldKind};
use serde_json::{Map, Value, json};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// The name under which something stands in an object whose names are the operator's.
pub const MEMBER: &str = "operators-name";

/// Objects by their paths, their fields, and as what these are asked for.
pub type Asked = BTreeMap<String, BTreeMap<String, BTreeSet<FieldKind>>>;

#[derive(Default)]
struct Listener(RefCell<Asked>);

impl Environment for Listener {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn asked(&self, object: &str, field: &str, kind: FieldKind) {
        let mut asked = self.0.borrow_mut();
        asked.entry(plain(object)).or_default().entry(field.to_owned()).or_default().insert(kind);
    }
}

/// What is known of a field by putting something senseless into it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    /// Nothing but these.
    pub words: Vec<Value>,
    /// The least and the greatest number.
    pub range: Option<(i64, i64)>,
    /// Whether a text must hold something.
    pub is_text_filled: bool,
    /// Whether a list must hold something.
    pub is_list_filled: bool,
}

#[derive(Default)]
pub struct Explorer {
    listener: Listener,
    /// A configuration with this object in it, as good as it could be made.
    configurations: BTreeMap<String, Value>,
}

impl Explorer {
    pub fn run() -> Self {
        let mut explorer = Self::default();
        let base = json!({"providers": {"issuer": "https://idp.example.com", "audiences": "https://api.example.com"}});
        explorer.read(&base).unwrap();
        for object in ["", "providers"] {
            explorer.configurations.insert(object.to_owned(), base.clone());
        }
        explorer.read(&json!({"provider": "https://idp.example.com"})).unwrap();
        loop {
            explorer.enter_all();
            // What is read only where it is there may hold further objects.
            explorer.read_unread();
            if explorer.next_unknown().is_none() {
                return explorer;
            }
        }
    }

    /// Puts in every object that its reader has asked for.
    fn enter_all(&mut self) {
        while let Some((object, field, kinds)) = self.next_unknown() {
            let path = join(&object, &field);
            let mut configuration = self.configurations[&object].clone();
            if kinds.contains(&FieldKind::Members) {
                let member = join(&path, MEMBER);
                self.enter(&configuration, &path, json!({MEMBER: {}}), &member);
            }
            let objects = [FieldKind::Object, FieldKind::Objects, FieldKind::Entries];
            let value = if !objects.iter().any(|kind| kinds.contains(kind)) {
                json!({MEMBER: "x"})
            } else if kinds.contains(&FieldKind::Members) {
                // Where both may stand, an object is one with names of the operator's.
                json!([{}])
            } else {
                json!({})
            };
            set(&mut configuration, &path, value.clone());
            self.enter(&configuration, &path, value, &path);
        }
    }

    /// Some fields are read only where they are there.
    fn read_unread(&self) {
        for (object, fields) in self.asked() {
            let Some(configuration) = self.configurations.get(&object) else { continue };
            for (field, kinds) in fields {
                for value in
                    [json!("x-a"), json!({})].into_iter().filter(|_| kinds == BTreeSet::from([FieldKind::Known]))
                {
                    let mut configuration = configuration.clone();
                    set(&mut configuration, &join(&object, &field), value);
                    self.mend(configuration);
                }
            }
        }
    }

    pub fn asked(&self) -> Asked {
        self.listener.0.borrow().clone()
    }

    /// Configurations of all kinds that are sound.
    pub fn sound(&self) -> impl Iterator<Item = &Value> {
        self.configurations.values().filter(|configuration| self.read(configuration).is_ok())
    }

    fn enter(&mut self, configuration: &Value, path: &str, value: Value, object: &str) {
        let mut configuration = configuration.clone();
        set(&mut configuration, path, value);
        let mended = self.mend(configuration);
        self.configurations.insert(object.to_owned(), mended);
    }

    /// An object that has not been put in yet, and that its reader has asked for.
    fn next_unknown(&self) -> Option<(String, String, BTreeSet<FieldKind>)> {
        let nested = [FieldKind::Object, FieldKind::Objects, FieldKind::Members, FieldKind::Entries];
        let asked = self.listener.0.borrow();
        asked.iter().filter(|(object, _)| self.configurations.contains_key(*object)).find_map(|(object, fields)| {
            let mut unknown = fields.iter().filter(|(field, kinds)| {
                let is_nested = kinds.iter().any(|kind| nested.contains(kind));
                is_nested && !self.configurations.contains_key(&join(object, field))
            });
            unknown.next().map(|(field, kinds)| (object.clone(), field.clone(), kinds.clone()))
        })
    }

    fn read(&self, configuration: &Value) -> Result<(), Error> {
        Config::read(configuration.to_string().as_bytes(), &self.listener).map(drop)
    }

    fn kinds(&self, path: &str) -> BTreeSet<FieldKind> {
        let (object, field) = path.rsplit_once('.').unwrap_or(("", path));
        let asked = self.listener.0.borrow();
        asked.get(object).and_then(|fields| fields.get(field)).cloned().unwrap_or_default()
    }

    /// The configuration with what its reader minds put right, as far as trying goes.
    fn mend(&self, mut configuration: Value) -> Value {
        for _ in 0..MAX_MENDS {
            let Err(error) = self.read(&configuration) else { break };
            match self.tries(&configuration, &error).find(|tried| self.is_better(tried, &error)) {
                Some((_, mended)) => configuration = mended,
                None => break,
            }
        }
        configuration
    }

    /// Whether what was minded is minded no more, nor the neighbour that was changed for it.
    fn is_better(&self, (changed, configuration): &(String, Value), error: &Error) -> bool {
        let Err(other) = self.read(configuration) else { return true };
        let (path, other) = (plain(error.path()), plain(other.path()));
        let is_of_change = other == *changed || other.starts_with(&format!("{changed}."));
        other != path && (*changed == path || !is_of_change)
    }

    fn tries(&self, configuration: &Value, error: &Error) -> impl Iterator<Item = (String, Value)> + use<> {
        let path = plain(error.path());
        let object = path.rsplit_once('.').map_or("", |(object, _)| object);
        let words: Vec<String> = words(error.problem());
        let at = path.clone();
        let renamed = self.renamed(configuration, &path, object, error, &words);
        let mut places: Vec<(String, Vec<Value>)> = vec![(path.clone(), self.values(&path, &words))];
        // What is minded may be for want of a neighbour, or for its value.
        let named: Vec<&str> = error.problem().split('`').skip(1).step_by(2).collect();
        let neighbours = self.listener.0.borrow().get(object).cloned().unwrap_or_default();
        for field in neighbours.keys() {
            let neighbour = join(object, field);
            if neighbour == path {
                continue;
            }
            let values = if named.contains(&field.as_str()) {
                self.values(&neighbour, &words)
            } else {
                words.iter().map(|word| json!(word)).collect()
            };
            places.push((neighbour, values));
        }
        let configuration = configuration.clone();
        let with = move |path: &str, value: Value| {
            let mut changed = configuration.clone();
            set(&mut changed, path, value);
            changed
        };
        let changed = places.into_iter().flat_map(move |(path, values)| {
            let with = with.clone();
            values.into_iter().map(move |value| (path.clone(), with(&path, value)))
        });
        renamed.into_iter().map(move |renamed| (at.clone(), renamed)).chain(changed)
    }

    /// A field that is unknown, under each of the names that are known.
    fn renamed(&self, configuration: &Value, path: &str, object: &str, error: &Error, words: &[String]) -> Vec<Value> {
        if !error.problem().starts_with("unknown field") {
            return Vec::new();
        }
        let known = self.listener.0.borrow().get(object).cloned().unwrap_or_default();
        let names = words.iter().filter(|word| known.contains_key(*word));
        let renamed = names.flat_map(|name| {
            TEXTS.iter().map(move |text| {
                let mut renamed = configuration.clone();
                let field = path.rsplit('.').next().unwrap_or_default();
                set(&mut renamed, &join(object, name), json!(text));
                if let Some(members) = get_mut(&mut renamed, object).as_object_mut() {
                    members.remove(field);
                }
                renamed
            })
        });
        renamed.collect()
    }

    /// What may stand in a field.
    fn values(&self, path: &str, words: &[String]) -> Vec<Value> {
        let mut values: Vec<Value> = Vec::new();
        for kind in self.kinds(path) {
            match kind {
                FieldKind::Boolean => values.extend([json!(true), json!(false)]),
                FieldKind::Integer | FieldKind::Integers => values.extend([json!(1), json!(204), json!(401)]),
                FieldKind::Duration | FieldKind::SignedDuration => values.push(json!("60s")),
                FieldKind::Object | FieldKind::Objects => values.extend([json!({}), json!({MEMBER: "x"})]),
                FieldKind::Members | FieldKind::StringMap | FieldKind::StringLists => values.push(json!({MEMBER: "x"})),
                FieldKind::Entries => values.extend([json!(TEXTS[0]), json!({})]),
                FieldKind::Json => values.push(json!(TEXTS[0])),
                FieldKind::JsonObjects => values.push(serde_json::from_str(KEY).unwrap()),
                FieldKind::Known => {}
                FieldKind::Any
                | FieldKind::String
                | FieldKind::RequiredString
                | FieldKind::Strings
                | FieldKind::JsonText => {
                    values.extend(words.iter().map(|word| json!(word)));
                    values.extend(TEXTS.iter().map(|text| json!(text)));
                }
            }
        }
        values
    }

    /// A configuration whose reader comes as far as to look at this field.
    fn complained_of(&self, configuration: &Value, path: &str) -> Value {
        let mut changed = configuration.clone();
        set(&mut changed, path, json!(SENSELESS));
        for _ in 0..MAX_MENDS {
            let Err(error) = self.read(&changed) else { break };
            let is_senseless = |value: &Value| get(value, path).is_some_and(|value| value == SENSELESS);
            let is_met = plain(error.path()) == path;
            let mut tries = self.tries(&changed, &error).filter(|(_, mended)| !is_met && is_senseless(mended));
            match tries.find(|tried| self.is_better(tried, &error)) {
                Some((_, mended)) => changed = mended,
                None => break,
            }
        }
        changed
    }

    /// What a reader says of something senseless in a field, held to what it then takes.
    pub fn limits(&self, path: &str) -> Limits {
        let object = path.rsplit_once('.').map_or("", |(object, _)| object);
        let Some(configuration) = self.configurations.get(object) else { return Limits::default() };
        let configuration = &self.complained_of(configuration, path);
        let refusal = |value: &Value| -> Option<String> {
            let mut changed = configuration.clone();
            set(&mut changed, path, value.clone());
            let error = self.read(&changed).err()?;
            (plain(error.path()) == path).then(|| error.problem().to_owned())
        };
        let kinds = self.kinds(path);
        let minds_nothing = |nothing: Value| {
            let problem = refusal(&nothing).unwrap_or_default();
            ["empty", "at least one"].iter().any(|word| problem.contains(word))
        };
        let mut limits = Limits {
            is_text_filled: minds_nothing(json!("")),
            is_list_filled: minds_nothing(json!([])),
            ..Limits::default()
        };
        if kinds.iter().any(|kind| matches!(kind, FieldKind::Integer | FieldKind::Integers))
            && let Some(problem) = refusal(&json!(-1))
        {
            let numbers: Vec<i64> =
                problem.split(|c: char| !c.is_ascii_digit()).filter_map(|text| text.parse().ok()).collect();
            let pairs = numbers.iter().zip(numbers.iter().skip(1)).map(|(least, most)| (*least, *most));
            let is_range = |(least, most): &(i64, i64)| {
                least < most
                    && [*least, *most].iter().all(|inside| refusal(&json!(inside)).is_none())
                    && [least - 1, most + 1].iter().all(|outside| refusal(&json!(outside)).is_some())
            };
            limits.range = pairs.into_iter().find(is_range);
        }
        let is_text = |kind: &FieldKind| {
            matches!(kind, FieldKind::Any | FieldKind::String | FieldKind::RequiredString | FieldKind::Strings)
        };
        if kinds.iter().any(is_text)
            && let Some(problem) = refusal(&json!(SENSELESS))
            && problem.contains("expected ")
        {
            let mut spelled: Vec<Value> = Vec::new();
            for word in words(&problem) {
                let spellings = [word.clone(), word.to_lowercase(), camel_case(&word)];
                for spelling in spellings.map(|spelling| json!(spelling)) {
                    // A word that is taken, or minded for something else, is one of those.
                    let is_known = refusal(&spelling).is_none_or(|other| other != problem);
                    if is_known && !spelled.contains(&spelling) {
                        spelled.push(spelling);
                    }
                }
            }
            if kinds.contains(&FieldKind::Any) {
                let numbers = (0..10).map(|number| json!(number));
                spelled.extend(numbers.filter(|number| refusal(number).is_none_or(|other| other != problem)));
            }
            limits.words = spelled;
        }
        limits
    }
}

/// The words that an error names: `expected a, b or c`, and `RS256/384` for two.
fn words(problem: &str) -> Vec<String> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_-/".contains(c);
    let texts = problem.split(|c: char| !is_word(c)).filter(|text| !text.is_empty() && *text != "or");
    texts
        .flat_map(|text| {
            let (first, others) = text.split_once('/').unwrap_or((text, ""));
            let stem = first.trim_end_matches(|c: char| c.is_ascii_digit());
            let others = others.split('/').filter(|other| !other.is_empty());
            std::iter::once(first.to_owned())
                .chain(others.map(move |other| format!("{stem}{other}")))
                .filter(|word| !word.is_empty())
        })
        .collect()
}

pub fn camel_case(name: &str) -> String {
    let mut parts = name.split('_');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |camel, part| {
        let (head, tail) = part.split_at(part.len().min(1));
        camel + &head.to_ascii_uppercase() + tail
    })
}

/// A path without the places in lists.
fn plain(path: &str) -> String {
    let mut parts = path.split('[');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| plain + part.split_once(']').map_or("", |(_, rest)| rest))
}

pub fn join(object: &str, field: &str) -> String {
    if object.is_empty() { field.to_owned() } else { format!("{object}.{field}") }
}

/// The value at a path; of a list, the first element counts.
fn get<'v>(configuration: &'v Value, path: &str) -> Option<&'v Value> {
    let mut place = configuration;
    for name in path.split('.').filter(|name| !name.is_empty()) {
        place = place.get(0).unwrap_or(place).get(name)?;
    }
    Some(place.get(0).unwrap_or(place))
}

/// The same, in objects that are made where there are none.
fn get_mut<'v>(configuration: &'v mut Value, path: &str) -> &'v mut Value {
    let first = |place: &'v mut Value| match place {
        Value::Array(list) => list.first_mut().unwrap(),
        other => other,
    };
    let mut place = configuration;
    for name in path.split('.').filter(|name| !name.is_empty()) {
        place = first(place);
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        place = place.as_object_mut().unwrap().entry(name).or_insert(Value::Null);
    }
    first(place)
}

/// Puts a value at a path.
fn set(configuration: &mut Value, path: &str, value: Value) {
    *get_mut(configuration, path) = value;
}

const SENSELESS: &str = "!";

/// As many as the object with the most conditions needs, and more.
const MAX_MENDS: usize = 40;

/// A private key that everybody knows: RFC 7515, section A.3.
const KEY: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;

/// One of them fits most fields.
const TEXTS: [&str; 6] = ["x-a", "https://idp.example.com", "https://idp.example.com/a", "/a", "GET", "{\"keys\":[]}"];
