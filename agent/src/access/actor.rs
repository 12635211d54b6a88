//! Who asks: a person with a role, by which means, from where.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::table::{What, Whose, granted};
use super::token::Token;

/// What a person is in the shop. The words are fixed (they are on the network).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Sees machines, and stops them.
    Viewer,
    /// Submits programs and runs their own.
    Member,
    /// Runs everybody's, and says which machine is out of service.
    Operator,
    /// Everything, people and tokens included.
    Admin,
    /// Another site's program: sends work in and follows it.
    Platform,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [Self::Viewer, Self::Member, Self::Operator, Self::Admin, Self::Platform];

    /// The word on the network.
    pub fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Member => "member",
            Self::Operator => "operator",
            Self::Admin => "admin",
            Self::Platform => "platform",
        }
    }

    /// The role of a word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.word() == word)
    }

    /// Whether everything that another role may, this one may too. The table itself is asked.
    pub fn includes(self, other: Self) -> bool {
        let cells = What::ALL.into_iter().flat_map(|what| [(what, Whose::Own), (what, Whose::Others)]);
        cells.into_iter().all(|(what, whose)| !granted(Some(other), what, whose) || granted(Some(self), what, whose))
    }

    /// Whether its people need competence for a machine before they work at it. Operators and admins answer for
    /// themselves.
    pub fn needs_competence(self) -> bool {
        !matches!(self, Self::Operator | Self::Admin)
    }
}

/// By which means somebody showed who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Means {
    /// They reached the agent's socket, as a user of the system who may.
    Socket {
        /// The user's number.
        uid: u32,
    },
    /// They showed the token of `http.token_file`.
    TokenFile,
    /// They showed a token of the book.
    Token {
        /// Its public name.
        id: String,
    },
    /// They are on this computer, and that is enough by configuration (`http.without_token = "everything"`).
    ThisComputer,
    /// They showed nothing.
    Nothing,
}

impl Means {
    /// How it is written in the log.
    pub fn word(&self) -> String {
        match self {
            Self::Socket { uid } => format!("socket:{uid}"),
            Self::TokenFile => "token_file".to_owned(),
            Self::Token { id } => format!("token:{id}"),
            Self::ThisComputer => "this_computer".to_owned(),
            Self::Nothing => "nothing".to_owned(),
        }
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The name for people and the log: a person's, or `owner`, `token`, `local`, `nobody`.
    pub name: String,
    /// The person's identifier; absent for the owner and for nobody.
    pub person: Option<String>,
    /// What they are; nothing for somebody who is nobody.
    pub role: Option<Role>,
    /// What the token they showed is good for at most.
    pub scope: Option<Role>,
    /// The machines the token is good for; absent: all.
    pub machines: Option<BTreeSet<String>>,
    /// By which means.
    pub means: Means,
    /// From which address.
    pub from: String,
}

impl Actor {
    /// Somebody who showed nothing.
    pub fn nobody(from: impl Into<String>) -> Self {
        Self {
            name: "nobody".to_owned(),
            person: None,
            role: None,
            scope: None,
            machines: None,
            means: Means::Nothing,
            from: from.into(),
        }
    }

    /// The owner: who reaches the socket, shows the token file's token, or is on this computer where that is enough.
    pub fn owner(means: Means, from: impl Into<String>) -> Self {
        let name = match means {
            Means::TokenFile => "token",
            Means::ThisComputer => "local",
            _ => "owner",
        };
        Self { name: name.to_owned(), role: Some(Role::Admin), means, ..Self::nobody(from) }
    }

    /// A person who showed a token.
    pub fn person(person: &super::Person, token: &Token, from: impl Into<String>) -> Self {
        Self {
            name: person.name.clone(),
            person: Some(person.id.clone()),
            role: Some(person.role),
            scope: Some(token.scope),
            machines: token.machines.clone(),
            means: Means::Token { id: token.id.clone() },
            from: from.into(),
        }
    }

    /// Whether something of this owner is their own. What nobody owns is nobody's own.
    pub fn owns(&self, owner: Option<&str>) -> Whose {
        if owner.is_some() && owner == self.person.as_deref() { Whose::Own } else { Whose::Others }
    }

    /// Whether they may, without words about it.
    pub fn can(&self, what: What, whose: Whose) -> bool {
        super::may(self, what, whose, None).is_ok()
    }
}
