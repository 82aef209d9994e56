//! Why a request is none that an MCP server answers, with the status and the JSON-RPC error that the specification has for it.

/// Why a message is refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MessageFault {
    /// Why.
    pub kind: FaultKind,
    /// The text of the message's `id`, if it could be read.
    pub id: Option<Box<str>>,
}

/// What is wrong with a message, or with its headers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FaultKind {
    /// No JSON, or none that all readers read alike.
    Parse,
    /// JSON, but no JSON-RPC message of this version.
    Request,
    /// The parameters don't name what the method is about.
    Parameters,
    /// A header is missing, malformed, or says otherwise than the body.
    Headers,
    /// The version of the protocol is not known.
    Version,
    /// The body is too long.
    TooLarge,
    /// The body is not of a media type or a coding that is read.
    MediaType,
    /// The page that asks is of an origin that may not.
    Origin,
}

/// A fault of no message in particular.
impl From<FaultKind> for MessageFault {
    fn from(kind: FaultKind) -> Self {
        Self { kind, id: None }
    }
}

impl FaultKind {
    /// The status of the answer, and the code of the JSON-RPC error in it (JSON-RPC 2.0, section 5.1; MCP, "Error Codes").
    pub const fn codes(self) -> (u16, i32) {
        match self {
            Self::Parse => (400, -32700),
            Self::Request => (400, -32600),
            Self::Parameters => (400, -32602),
            Self::Headers => (400, -32020),
            Self::Version => (400, -32022),
            Self::TooLarge => (413, -32600),
            Self::MediaType => (415, -32600),
            Self::Origin => (403, -32600),
        }
    }

    /// A sentence for people.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Parse => "the body is not one JSON text that every reader reads alike",
            Self::Request => "the body is not one JSON-RPC message of this version of MCP",
            Self::Parameters => "the parameters do not name what the method is about",
            Self::Headers => "an MCP header is missing, malformed, or does not match the body",
            Self::Version => "this version of MCP is not supported",
            Self::TooLarge => "the body is too long",
            Self::Origin => "pages of this origin may not send requests here",
            Self::MediaType => "the body is not application/json in UTF-8 and without a content coding",
        }
    }
}
