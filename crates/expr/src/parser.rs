//! From text to a checked expression in one pass: `sqlparser` cuts the text into tokens, and a precedence climber types
//! and folds each operator as soon as its operands are known.
//!
//! The grammar is our own rather than `sqlparser`'s, because that one accepts all of SQL by backtracking: nested calls
//! cost it exponential time (twelve `cast(` take seconds) and some paths recurse without a limit, which a service cannot
//! offer to its callers.

mod calls;
mod lists;
mod prefix;
mod tokens;

use tastemaker_types::did_you_mean;

use crate::error::{At, ExprError, Problem};
use crate::fold::fold;
use crate::typing::{self, Node};
use crate::{Ast, Bind, Comparison, Kind, Literal, MAX_DEPTH, MAX_NODES, MAX_PATTERN_BYTES, Operator, Params, Schema};
use sqlparser::tokenizer::Token;
use tokens::Tokens;

/// Binding strength, weakest first.
mod strength {
    pub(super) const NONE: u8 = 0;
    pub(super) const OR: u8 = 1;
    pub(super) const AND: u8 = 2;
    pub(super) const NOT: u8 = 3;
    pub(super) const COMPARE: u8 = 4;
    pub(super) const ADD: u8 = 5;
    pub(super) const MULTIPLY: u8 = 6;
    pub(super) const SIGN: u8 = 7;
    pub(super) const CAST: u8 = 8;
}

/// Parses, checks and folds `text`.
pub(crate) fn parse(text: &str, schema: &Schema, params: &Params) -> Result<Ast, ExprError> {
    let mut parser = Parser { tokens: Tokens::new(text)?, schema, params, nodes: 0, depth: 0 };
    if parser.tokens.at_end() {
        return Err(parser.tokens.expected("an expression"));
    }
    let node = parser.expression(strength::NONE)?;
    if !parser.tokens.at_end() {
        return Err(parser.tokens.expected("an operator or the end"));
    }
    Ok(node.ast)
}

struct Parser<'a> {
    tokens: Tokens,
    schema: &'a Schema,
    params: &'a Params,
    nodes: usize,
    /// Of the parser's own recursion.
    depth: u16,
}

/// What stands between two operands.
enum Infix {
    Or,
    And,
    Compare(Comparison),
    Arithmetic(Operator),
    Is,
    In,
    Between,
    Like { case_insensitive: bool },
    Cast,
}

impl Parser<'_> {
    fn expression(&mut self, weaker: u8) -> Result<Node, ExprError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(too_deep(self.tokens.here()));
        }
        let mut left = self.prefix()?;
        while let Some((infix, strength, negated)) = self.infix()? {
            if strength <= weaker {
                break;
            }
            self.tokens.skip(if negated { 2 } else { 1 });
            left = self.apply(infix, strength, negated, left)?;
        }
        self.depth -= 1;
        Ok(left)
    }

    /// The operator that comes next, without consuming it.
    fn infix(&self) -> Result<Option<(Infix, u8, bool)>, ExprError> {
        let refuse = |what: &str, remedy: &str| Err(ExprError::unsupported(what, self.tokens.here()).remedy(remedy));
        let compare = |op| Ok(Some((Infix::Compare(op), strength::COMPARE, false)));
        let arithmetic = |op, strength| Ok(Some((Infix::Arithmetic(op), strength, false)));
        match self.tokens.peek() {
            Token::Eq => compare(Comparison::Equal),
            Token::Neq => compare(Comparison::NotEqual),
            Token::Lt => compare(Comparison::Less),
            Token::LtEq => compare(Comparison::LessOrEqual),
            Token::Gt => compare(Comparison::Greater),
            Token::GtEq => compare(Comparison::GreaterOrEqual),
            Token::Plus => arithmetic(Operator::Add, strength::ADD),
            Token::Minus => arithmetic(Operator::Subtract, strength::ADD),
            Token::Mul => arithmetic(Operator::Multiply, strength::MULTIPLY),
            Token::Div => arithmetic(Operator::Divide, strength::MULTIPLY),
            Token::Mod => arithmetic(Operator::Remainder, strength::MULTIPLY),
            Token::DoubleColon => Ok(Some((Infix::Cast, strength::CAST, false))),
            Token::DoubleEq => refuse("the operator ==", "equality is written ="),
            Token::Ampersand | Token::Overlap => refuse("the operator &", "write AND"),
            Token::Pipe => refuse("the operator |", "write OR"),
            Token::StringConcat => refuse("the operator ||", "texts are not joined; alternatives are written OR"),
            Token::Tilde => refuse("a regular expression", "write LIKE or ILIKE"),
            Token::Word(_) => {
                let negated = self.tokens.is_word(0, "not");
                let word = |word: &str| self.tokens.is_word(usize::from(negated), word);
                let tested = |infix| Ok(Some((infix, strength::COMPARE, negated)));
                if word("in") {
                    tested(Infix::In)
                } else if word("between") {
                    tested(Infix::Between)
                } else if word("like") {
                    tested(Infix::Like { case_insensitive: false })
                } else if word("ilike") {
                    tested(Infix::Like { case_insensitive: true })
                } else if word("similar") || word("regexp") || word("rlike") {
                    refuse("a regular expression", "write LIKE or ILIKE")
                } else if negated {
                    Ok(None)
                } else if word("and") {
                    Ok(Some((Infix::And, strength::AND, false)))
                } else if word("or") {
                    Ok(Some((Infix::Or, strength::OR, false)))
                } else if word("is") {
                    Ok(Some((Infix::Is, strength::COMPARE, false)))
                } else if word("over") {
                    refuse("a window function", "an expression sees one row at a time")
                } else {
                    Ok(None)
                }
            }
            _ => Ok(None),
        }
    }

    fn apply(&mut self, infix: Infix, strength: u8, negated: bool, left: Node) -> Result<Node, ExprError> {
        let at = left.at;
        let node = match infix {
            Infix::And | Infix::Or => {
                let right = self.expression(strength)?;
                return self.junction(matches!(infix, Infix::And), left, right);
            }
            Infix::Compare(_) if self.tokens.is_word(0, "all") && matches!(self.tokens.peek_at(1), Token::LParen) => {
                Err(ExprError::unsupported("ALL", self.tokens.here()).remedy("for lists there is 'x' = ANY(list)"))
            }
            Infix::Compare(op) if self.tokens.accept("any") || self.tokens.accept("some") => self.any(op, left),
            Infix::Compare(_) | Infix::Arithmetic(_) => {
                let right = self.expression(strength)?;
                self.binary(&infix, left, right)
            }
            Infix::Cast => self.postfix_cast(left),
            Infix::Is => self.is(left),
            Infix::In => self.within(left),
            Infix::Between => self.between(left),
            Infix::Like { case_insensitive } => {
                let pattern = self.expression(strength)?;
                self.like(left, pattern, case_insensitive)
            }
        }?;
        if negated { self.node(Ast::Not(Box::new(node.ast)), at, node.depth) } else { Ok(node) }
    }

    fn binary(&mut self, infix: &Infix, left: Node, right: Node) -> Result<Node, ExprError> {
        let (at, depth) = (left.at, left.depth.max(right.depth));
        let ast = match infix {
            Infix::Arithmetic(op) => typing::arithmetic(*op, left, right)?,
            Infix::Compare(op) => typing::compare(*op, left, right)?,
            _ => return Err(self.tokens.expected("an operator")),
        };
        self.node(ast, at, depth)
    }

    fn postfix_cast(&mut self, left: Node) -> Result<Node, ExprError> {
        let (at, depth) = (left.at, left.depth);
        let to = self.cast_type()?;
        self.node(typing::cast(left, to)?, at, depth)
    }

    fn within(&mut self, left: Node) -> Result<Node, ExprError> {
        let (at, depth) = (left.at, left.depth);
        let items = self.in_items()?;
        self.node(typing::in_list(left, items)?, at, depth)
    }

    fn between(&mut self, left: Node) -> Result<Node, ExprError> {
        let low = self.expression(strength::COMPARE)?;
        self.tokens.expect("and")?;
        let high = self.expression(strength::COMPARE)?;
        let (at, depth) = (left.at, left.depth.max(low.depth).max(high.depth));
        self.node(typing::between(left, low, high)?, at, depth)
    }

    fn junction(&mut self, conjunction: bool, left: Node, right: Node) -> Result<Node, ExprError> {
        let what = if conjunction { "AND" } else { "OR" };
        let at = left.at;
        let mut depth = 0;
        let mut operands = Vec::new();
        for node in [left, right] {
            let node_depth = node.depth;
            match (typing::condition(node, what)?, conjunction) {
                (Ast::And(inner), true) | (Ast::Or(inner), false) => {
                    operands.extend(inner);
                    depth = depth.max(node_depth.saturating_sub(1));
                }
                (ast, _) => {
                    operands.push(ast);
                    depth = depth.max(node_depth);
                }
            }
        }
        self.node(if conjunction { Ast::And(operands) } else { Ast::Or(operands) }, at, depth)
    }

    fn is(&mut self, left: Node) -> Result<Node, ExprError> {
        let negated = self.tokens.accept("not");
        let at = left.at;
        let depth = left.depth;
        let ast = if self.tokens.accept("null") || self.tokens.accept("unknown") {
            Ast::IsNull(Box::new(left.ast))
        } else if self.tokens.is_word(0, "true") || self.tokens.is_word(0, "false") {
            let value = self.tokens.is_word(0, "true");
            self.tokens.skip(1);
            let condition = typing::condition(left, "IS TRUE")?;
            let condition = if value { condition } else { fold(Ast::Not(Box::new(condition))) };
            Ast::Call {
                function: crate::Function::Coalesce,
                arguments: vec![condition, Ast::Literal(Literal::Bool(false))],
                kind: Kind::Bool,
            }
        } else if self.tokens.is_word(0, "distinct") {
            return Err(ExprError::unsupported("IS DISTINCT FROM", self.tokens.here())
                .remedy("write a <> b OR a IS NULL OR b IS NULL"));
        } else {
            return Err(self.tokens.expected("NULL, TRUE or FALSE after IS"));
        };
        let node = self.node(ast, at, depth)?;
        if negated { self.node(Ast::Not(Box::new(node.ast)), at, node.depth) } else { Ok(node) }
    }

    fn like(&mut self, text: Node, pattern: Node, case_insensitive: bool) -> Result<Node, ExprError> {
        let (at, depth) = (text.at, text.depth);
        if self.tokens.is_word(0, "escape") {
            return Err(ExprError::unsupported("ESCAPE", self.tokens.here())
                .remedy("a backslash takes the next character as it is"));
        }
        let what = if case_insensitive { "ILIKE" } else { "LIKE" };
        if text.ast.kind().is_some_and(|kind| kind != Kind::Text) {
            return Err(ExprError::type_error(format!("{what} takes a text"), at).remedy("compare others with = or <"));
        }
        let ast = match pattern.ast {
            Ast::Literal(Literal::Text(source)) => {
                if source.len() > MAX_PATTERN_BYTES {
                    let found = format!("{} bytes", source.len());
                    return Err(too_large("the pattern has", found, MAX_PATTERN_BYTES, pattern.at));
                }
                let pattern = crate::LikePattern::new(&source, case_insensitive);
                Ast::Like { operand: Box::new(text.ast), pattern }
            }
            Ast::Literal(Literal::Null(_)) => Ast::Literal(Literal::Null(Some(Kind::Bool))),
            _ => {
                return Err(ExprError::type_error(format!("{what} takes a constant pattern"), pattern.at)
                    .remedy("write it in quotes or bind it as a parameter"));
            }
        };
        self.node(ast, at, depth)
    }

    /// Counts, bounds and folds a new node over operands of at most `depth` levels.
    fn node(&mut self, ast: Ast, at: At, depth: u16) -> Result<Node, ExprError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(too_large("the text has", "more operands".to_owned(), MAX_NODES, at));
        }
        if depth >= MAX_DEPTH {
            return Err(too_deep(at));
        }
        let ast = fold(ast);
        let depth = if matches!(ast, Ast::Literal(_) | Ast::Column(_)) { 0 } else { depth + 1 };
        Ok(Node { ast, at, depth })
    }

    fn leaf(&mut self, literal: Literal, at: At) -> Result<Node, ExprError> {
        self.node(Ast::Literal(literal), at, 0)
    }

    fn bind(&self, name: &str, at: At) -> Result<&Bind, ExprError> {
        self.params.binds.get(name).ok_or_else(|| {
            let known = self.params.binds.keys().map(String::as_str);
            ExprError::new(Problem::UnknownParameter { name: name.to_owned() }, at).remedy(did_you_mean(name, known))
        })
    }
}

fn too_deep(at: At) -> ExprError {
    too_large("the text nests", "deeper".to_owned(), usize::from(MAX_DEPTH), at)
}

fn too_large(what: &'static str, found: String, limit: usize, at: At) -> ExprError {
    ExprError::new(Problem::TooLarge { what, found, limit }, at)
}
