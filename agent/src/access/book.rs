//! The book: who there is, and which tokens. A change makes another book, or says why not.

use std::collections::BTreeMap;

use super::actor::{Actor, Role};
use super::denial::Denial;
use super::people::{COMPETENCE_MAX, Competent, PEOPLE_MAX, Person};
use super::token::{Hash, TOKENS_MAX, Token};

/// People by name, and tokens by their hash.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Book {
    people: BTreeMap<String, Person>,
    tokens: BTreeMap<Hash, Token>,
}

/// A change of the book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Somebody new.
    Add(Person),
    /// Somebody who is there, as they are now.
    Set(Person),
    /// Somebody goes, and their tokens with them.
    Remove {
        /// Their name.
        name: String,
    },
    /// A new token.
    AddToken(Hash, Token),
    /// A token opens nothing any more.
    Revoke {
        /// Its public name.
        id: String,
        /// When.
        at_ms: i64,
    },
    /// A token was used.
    Used {
        /// Its hash.
        hash: Hash,
        /// When.
        at_ms: i64,
    },
    /// Both, or none: an admin who has a token, for a claim.
    Claim(Person, Hash, Token),
}

/// What a gate wants to know of somebody at a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The person; absent for the owner, who is no member, and for nobody.
    pub person: Option<String>,
    /// Their name for people.
    pub name: String,
    /// What they are; absent for nobody.
    pub role: Option<Role>,
    /// Whether they may work at that machine.
    pub competent: Competent,
    /// Whether they have a PIN.
    pub has_pin: bool,
}

impl Book {
    /// What was written of people and tokens.
    pub fn of(people: impl IntoIterator<Item = Person>, tokens: impl IntoIterator<Item = (Hash, Token)>) -> Self {
        let people = people.into_iter().map(|person| (person.name.clone(), person)).collect();
        Self { people, tokens: tokens.into_iter().collect() }
    }

    /// Everybody, by name.
    pub fn people(&self) -> impl Iterator<Item = &Person> {
        self.people.values()
    }

    /// Somebody by name.
    pub fn person(&self, name: &str) -> Option<&Person> {
        self.people.get(name)
    }

    /// Somebody by identifier.
    pub fn person_of(&self, id: &str) -> Option<&Person> {
        self.people.values().find(|person| person.id == id)
    }

    /// Every token, with its hash.
    pub fn tokens(&self) -> impl Iterator<Item = (&Hash, &Token)> {
        self.tokens.iter()
    }

    /// A token by its public name.
    pub fn token(&self, id: &str) -> Option<&Token> {
        self.tokens.values().find(|token| token.id == id)
    }

    /// Whether somebody can manage people without the socket.
    pub fn has_admin(&self) -> bool {
        self.people.values().any(|person| person.role == Role::Admin)
    }

    /// Who shows a token, and the token.
    ///
    /// # Errors
    /// It is not known, over or revoked: always the same words.
    pub fn admits(&self, hash: &Hash, now_ms: i64, from: &str) -> Result<(Actor, &Token), Denial> {
        let token = self.tokens.get(hash).filter(|token| token.is_good(now_ms)).ok_or(Denial::WrongToken)?;
        let person = self.person_of(&token.person).ok_or(Denial::WrongToken)?;
        Ok((Actor::person(person, token, from), token))
    }

    /// What a gate wants to know of whoever asks. The owner may work at everything.
    pub fn standing(&self, actor: &Actor, machine: &str, now_ms: i64) -> Standing {
        let person = actor.person.as_deref().and_then(|id| self.person_of(id));
        let competent = match (person, &actor.person, actor.role) {
            (Some(person), ..) => person.competent(machine, now_ms),
            (None, None, Some(Role::Admin)) => Competent::Yes,
            // Somebody who was removed meanwhile, or nobody.
            _ => Competent::No,
        };
        Standing {
            person: actor.person.clone(),
            name: actor.name.clone(),
            role: person.map(|person| person.role).or(actor.role),
            competent,
            has_pin: person.is_some_and(|person| person.pin.is_some()),
        }
    }

    /// The book with a change.
    ///
    /// # Errors
    /// Why there is no such book.
    pub fn with(&self, change: &Change) -> Result<Self, Denial> {
        let mut book = self.clone();
        match change {
            Change::Add(person) => book.add(person)?,
            Change::Set(person) => {
                if book.people.get(&person.name).is_none_or(|known| known.id != person.id) {
                    return Err(Denial::NoPerson);
                }
                book.fits(person)?;
                book.people.insert(person.name.clone(), person.clone());
            }
            Change::Remove { name } => {
                let gone = book.people.remove(name).ok_or(Denial::NoPerson)?;
                book.tokens.retain(|_, token| token.person != gone.id);
            }
            Change::AddToken(hash, token) => book.add_token(*hash, token)?,
            Change::Revoke { id, at_ms } => {
                let token = book.tokens.values_mut().find(|token| token.id == *id).ok_or(Denial::UnknownToken)?;
                token.revoked_ms.get_or_insert(*at_ms);
            }
            Change::Used { hash, at_ms } => {
                let token = book.tokens.get_mut(hash).ok_or(Denial::UnknownToken)?;
                token.used_ms = token.used_ms.max(Some(*at_ms));
            }
            Change::Claim(person, hash, token) => {
                book.add(person)?;
                book.add_token(*hash, token)?;
            }
        }
        Ok(book)
    }

    fn fits(&self, person: &Person) -> Result<(), Denial> {
        if person.competence.len() > COMPETENCE_MAX {
            return Err(Denial::Full { what: "machines of one person" });
        }
        // Two people whose names differ in case only are one person to whoever reads the log.
        let same = |known: &&Person| known.name.to_lowercase() == person.name.to_lowercase() && known.id != person.id;
        if self.people.values().find(same).is_some() { Err(Denial::NameTaken) } else { Ok(()) }
    }

    fn add(&mut self, person: &Person) -> Result<(), Denial> {
        if self.people.contains_key(&person.name) || self.person_of(&person.id).is_some() {
            return Err(Denial::NameTaken);
        }
        self.fits(person)?;
        if self.people.len() >= PEOPLE_MAX {
            return Err(Denial::Full { what: "people" });
        }
        self.people.insert(person.name.clone(), person.clone());
        Ok(())
    }

    fn add_token(&mut self, hash: Hash, token: &Token) -> Result<(), Denial> {
        let person = self.person_of(&token.person).ok_or(Denial::NoPerson)?;
        if !person.role.includes(token.scope) {
            return Err(Denial::TooMuch);
        }
        if self.tokens.len() >= TOKENS_MAX {
            // One that opens nothing any more makes room.
            let oldest = self.tokens.iter().filter(|(_, token)| token.revoked_ms.is_some());
            let oldest = oldest.min_by_key(|(_, token)| token.revoked_ms).map(|(hash, _)| *hash);
            self.tokens.remove(&oldest.ok_or(Denial::Full { what: "tokens" })?);
        }
        self.tokens.insert(hash, token.clone());
        Ok(())
    }
}
