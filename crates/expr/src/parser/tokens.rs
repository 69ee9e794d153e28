//! The tokens of a text, without its white space, and the words around a place in them.

use sqlparser::dialect::Dialect;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, TokenizerError};

use crate::MAX_BYTES;
use crate::error::{At, ExprError, Problem};

/// The lexical rules: names of letters, digits and `_`, or anything in double quotes.
#[derive(Debug)]
struct Lexicon;

impl Dialect for Lexicon {
    fn is_identifier_start(&self, c: char) -> bool {
        c.is_alphabetic() || c == '_'
    }

    fn is_identifier_part(&self, c: char) -> bool {
        c.is_alphanumeric() || c == '_'
    }
}

pub(super) struct Tokens {
    tokens: Vec<TokenWithSpan>,
    next: usize,
}

impl Tokens {
    pub(super) fn new(text: &str) -> Result<Self, ExprError> {
        if text.len() > MAX_BYTES {
            let found = format!("{} bytes", text.len());
            return Err(ExprError::new(
                Problem::TooLarge { what: "the text has", found, limit: MAX_BYTES },
                At::default(),
            ));
        }
        let mut tokens = Tokenizer::new(&Lexicon, text).tokenize_with_location().map_err(unreadable)?;
        tokens.retain(|token| !matches!(token.token, Token::Whitespace(_)));
        let (line, column) =
            (text.lines().count().max(1) as u64, text.lines().last().unwrap_or("").chars().count() as u64 + 1);
        let end = sqlparser::tokenizer::Location { line, column };
        tokens.push(TokenWithSpan { token: Token::EOF, span: sqlparser::tokenizer::Span { start: end, end } });
        Ok(Self { tokens, next: 0 })
    }

    pub(super) fn peek(&self) -> &Token {
        self.peek_at(0)
    }

    pub(super) fn peek_at(&self, ahead: usize) -> &Token {
        self.tokens.get(self.next + ahead).map_or(&Token::EOF, |token| &token.token)
    }

    pub(super) fn at_end(&self) -> bool {
        matches!(self.peek(), Token::EOF)
    }

    pub(super) fn skip(&mut self, count: usize) {
        self.next += count;
    }

    /// Where the next token stands.
    pub(super) fn here(&self) -> At {
        self.tokens.get(self.next).or(self.tokens.last()).map_or_else(At::default, |token| At {
            line: u32::try_from(token.span.start.line).unwrap_or(u32::MAX),
            column: u32::try_from(token.span.start.column).unwrap_or(u32::MAX),
        })
    }

    /// Whether the token `ahead` is this word, unquoted, in any case.
    pub(super) fn is_word(&self, ahead: usize, word: &str) -> bool {
        matches!(self.peek_at(ahead), Token::Word(found)
            if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
    }

    /// The next token in lower case, if it is a word.
    pub(super) fn lower_word(&self) -> String {
        if let Token::Word(word) = self.peek() { word.value.to_ascii_lowercase() } else { String::new() }
    }

    /// Consumes the word if it comes next.
    pub(super) fn accept(&mut self, word: &str) -> bool {
        let found = self.is_word(0, word);
        self.next += usize::from(found);
        found
    }

    pub(super) fn accept_token(&mut self, token: &Token) -> bool {
        let found = self.peek() == token;
        self.next += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, word: &'static str) -> Result<(), ExprError> {
        if self.accept(word) { Ok(()) } else { Err(self.expected(word.to_uppercase())) }
    }

    pub(super) fn expect_token(&mut self, token: &Token) -> Result<(), ExprError> {
        if self.accept_token(token) { Ok(()) } else { Err(self.expected(format!("'{token}'"))) }
    }

    /// The error that something else stands here.
    pub(super) fn expected(&self, expected: impl Into<std::borrow::Cow<'static, str>>) -> ExprError {
        let found = match self.peek() {
            Token::EOF => "the end".to_owned(),
            token => {
                let mut text: String = token.to_string().chars().take(40).collect();
                if !text.starts_with(['\'', '"']) {
                    text = format!("'{text}'");
                }
                text
            }
        };
        ExprError::new(Problem::Syntax { expected: expected.into(), found }, self.here())
    }
}

fn unreadable(error: TokenizerError) -> ExprError {
    let at = At {
        line: u32::try_from(error.location.line).unwrap_or(u32::MAX),
        column: u32::try_from(error.location.column).unwrap_or(u32::MAX),
    };
    ExprError::constant(format!("unreadable text: {}", error.message), at)
}
