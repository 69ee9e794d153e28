//! `IN (...)`, `= ANY(...)`, and parameters that are lists.

use sqlparser::tokenizer::Token;

use super::prefix::bound;
use super::{Parser, strength, too_large};
use crate::error::ExprError;
use crate::typing::{self, Node};
use crate::{Ast, Bind, Comparison, MAX_LIST};

impl Parser<'_> {
    /// What follows `= ANY`.
    pub(super) fn any(&mut self, op: Comparison, value: Node) -> Result<Node, ExprError> {
        let at = value.at;
        if op != Comparison::Equal {
            return Err(ExprError::unsupported(format!("{} ANY", op.symbol()), at)
                .remedy("write NOT ('x' = ANY(list)) for a list without it"));
        }
        self.tokens.expect_token(&Token::LParen)?;
        self.refuse_query()?;
        if let Some(items) = self.bound_list()? {
            self.tokens.expect_token(&Token::RParen)?;
            let depth = value.depth;
            return self.node(typing::in_list(value, items)?, at, depth);
        }
        let list = self.expression(strength::NONE)?;
        self.tokens.expect_token(&Token::RParen)?;
        let depth = value.depth.max(list.depth);
        self.node(typing::contains(list, value)?, at, depth)
    }

    /// What follows `IN`.
    pub(super) fn in_items(&mut self) -> Result<Vec<Node>, ExprError> {
        self.tokens.expect_token(&Token::LParen)?;
        self.refuse_query()?;
        let mut items = Vec::new();
        if self.tokens.accept_token(&Token::RParen) {
            return Ok(items);
        }
        loop {
            let at = self.tokens.here();
            match self.bound_list()? {
                Some(bound) => items.extend(bound),
                None => {
                    items.push(self.expression(strength::NONE)?);
                    // The list counts as one operand; it has a limit of its own.
                    self.nodes = self.nodes.saturating_sub(1);
                }
            }
            if items.len() > MAX_LIST {
                return Err(too_large("the list has", format!("{} values", items.len()), MAX_LIST, at));
            }
            if !self.tokens.accept_token(&Token::Comma) {
                break;
            }
        }
        self.tokens.expect_token(&Token::RParen)?;
        Ok(items)
    }

    /// The members of the parameter that comes next, if it is a list.
    fn bound_list(&mut self) -> Result<Option<Vec<Node>>, ExprError> {
        let (Token::Colon, Token::Word(word)) = (self.tokens.peek(), self.tokens.peek_at(1)) else { return Ok(None) };
        let at = self.tokens.here();
        let name = word.value.clone();
        let Bind::List(members) = self.bind(&name, at)? else { return Ok(None) };
        if members.len() > MAX_LIST {
            return Err(too_large("the list has", format!("{} values", members.len()), MAX_LIST, at));
        }
        let items = members
            .iter()
            .map(|member| Ok(Node { ast: Ast::Literal(bound(&name, member, at)?), at, depth: 0 }))
            .collect::<Result<_, ExprError>>()?;
        self.tokens.skip(2);
        Ok(Some(items))
    }
}
