//! The methods of the protocol, and what each is about.

use super::Operation;
use super::likeness::is_variant;

/// A method of the specification, of the versions from 2025-03-26 on, or of its extension for skills (SEP-2640).
pub(super) struct Method {
    name: &'static str,
    /// What a permission for it would be for.
    pub(super) about: About,
    /// Whether its answer lists what permissions are for.
    pub(super) lists: bool,
}

/// What a method is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum About {
    /// Nothing with a name: it needs what every request needs.
    Nothing,
    /// The tool of its `name`.
    Tool,
    /// The prompt of its `name`.
    Prompt,
    /// The resource of its `uri`.
    Resource,
    /// The prompt or the resource that its `ref` names.
    Reference,
    /// The resources that it wants to be told of.
    Subscriptions,
}

impl Method {
    /// The method of this name; `None` if the protocol knows none.
    pub(super) fn of(name: &str) -> Option<&'static Self> {
        METHODS.iter().find(|method| method.name == name)
    }

    /// Whether a name is no method's, but could be taken for one that is about something, or lists such.
    pub(super) fn is_odd(name: &str) -> bool {
        let guarded = METHODS.iter().filter(|method| method.lists || method.about != About::Nothing);
        Self::of(name).is_none() && is_variant(name, guarded.map(|method| method.name))
    }

    /// Whether `Mcp-Name` repeats what it is about, and those behind compare the two.
    pub(super) fn is_named_in_head(name: &str) -> bool {
        matches!(name, "tools/call" | "prompts/get" | "resources/read")
    }
}

impl About {
    /// The parameter that names it.
    pub(super) fn parameter(self) -> Option<&'static str> {
        match self {
            Self::Tool | Self::Prompt => Some("name"),
            Self::Resource => Some("uri"),
            Self::Nothing | Self::Reference | Self::Subscriptions => None,
        }
    }

    /// What it means with this name.
    pub(super) fn named(self, name: &str) -> Option<Operation> {
        match self {
            Self::Tool => Some(Operation::Tool(name.into())),
            Self::Prompt => Some(Operation::Prompt(name.into())),
            Self::Resource => Some(Operation::Resource(name.into())),
            Self::Nothing | Self::Reference | Self::Subscriptions => None,
        }
    }

    /// What it may mean to somebody who reads no body, where no header has its name.
    pub(super) fn unnamed(self) -> Vec<Operation> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Tool | Self::Prompt => vec![Operation::Unknown],
            Self::Resource | Self::Subscriptions => vec![Operation::SomeResource],
            Self::Reference => vec![Operation::SomePrompt, Operation::SomeResource],
        }
    }
}

const METHODS: &[Method] = &[
    about("tools/call", About::Tool),
    about("prompts/get", About::Prompt),
    about("resources/read", About::Resource),
    about("resources/subscribe", About::Resource),
    about("resources/unsubscribe", About::Resource),
    Method { name: "resources/directory/read", about: About::Resource, lists: true },
    about("skills/get", About::Resource),
    about("completion/complete", About::Reference),
    about("subscriptions/listen", About::Subscriptions),
    listing("tools/list"),
    listing("prompts/list"),
    listing("resources/list"),
    listing("resources/templates/list"),
    listing("skills/list"),
    plain("initialize"),
    plain("ping"),
    plain("server/discover"),
    plain("logging/setLevel"),
    // Tasks belong to whoever began them: their identifiers are the server's to guard.
    plain("tasks/get"),
    plain("tasks/list"),
    plain("tasks/result"),
    plain("tasks/cancel"),
    plain("tasks/update"),
    plain("notifications/initialized"),
    plain("notifications/cancelled"),
    plain("notifications/progress"),
    plain("notifications/message"),
    plain("notifications/roots/list_changed"),
    plain("notifications/tasks/status"),
    plain("notifications/elicitation/complete"),
];

const fn about(name: &'static str, about: About) -> Method {
    Method { name, about, lists: false }
}

const fn listing(name: &'static str) -> Method {
    Method { name, about: About::Nothing, lists: true }
}

const fn plain(name: &'static str) -> Method {
    about(name, About::Nothing)
}
