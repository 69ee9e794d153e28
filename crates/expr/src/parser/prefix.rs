//! What an expression can begin with: constants, columns, parameters, signs, parentheses, calls, `CASE` and `CAST`.

use std::sync::Arc;

use sqlparser::tokenizer::Token;
use tastemaker_types::{Timestamp, did_you_mean};

use super::{Parser, strength};
use crate::error::{At, ExprError, Problem};
use crate::functions::is_aggregate;
use crate::typing::{self, Node};
use crate::{Ast, Bind, Column, Function, Kind, Literal, Operator, interval};

/// Words that cannot name a column unless they are quoted.
const RESERVED: [&str; 18] = [
    "and", "or", "not", "in", "is", "like", "ilike", "between", "when", "then", "else", "end", "any", "all", "some",
    "over", "from", "as",
];

impl Parser<'_> {
    /// Only chooses: what recurses has a small function of its own, so that nesting takes little stack.
    pub(super) fn prefix(&mut self) -> Result<Node, ExprError> {
        match self.tokens.peek() {
            Token::LParen => self.parenthesised(),
            Token::Minus | Token::Plus => self.signed(),
            Token::Word(word) if word.quote_style.is_none() => self.word(),
            Token::Word(_) => self.column(self.tokens.here()),
            _ => self.constant(),
        }
    }

    fn constant(&mut self) -> Result<Node, ExprError> {
        let at = self.tokens.here();
        let literal = match self.tokens.peek() {
            Token::Number(digits, _) => match digits.parse::<f64>() {
                Ok(number) if number.is_finite() => Literal::Number(number),
                _ => return Err(ExprError::constant(format!("{digits} is not a finite number"), at)),
            },
            Token::SingleQuotedString(text) => Literal::Text(text.as_str().into()),
            Token::Colon => {
                self.tokens.skip(1);
                let Token::Word(word) = self.tokens.peek() else {
                    return Err(self.tokens.expected("the name of a parameter"));
                };
                bound(&word.value, self.bind(&word.value, at)?, at)?
            }
            Token::Placeholder(_) => {
                return Err(ExprError::unsupported("an unnamed parameter", at)
                    .remedy("parameters have names, as in :max_price"));
            }
            _ => return Err(self.tokens.expected("an expression")),
        };
        self.tokens.skip(1);
        self.leaf(literal, at)
    }

    fn parenthesised(&mut self) -> Result<Node, ExprError> {
        self.tokens.skip(1);
        self.refuse_query()?;
        let node = self.expression(strength::NONE)?;
        self.tokens.expect_token(&Token::RParen)?;
        Ok(node)
    }

    fn signed(&mut self) -> Result<Node, ExprError> {
        let at = self.tokens.here();
        let negative = matches!(self.tokens.peek(), Token::Minus);
        self.tokens.skip(1);
        let operand = self.expression(strength::SIGN)?;
        if negative { self.negative(operand, at) } else { Ok(operand) }
    }

    fn negative(&mut self, operand: Node, at: At) -> Result<Node, ExprError> {
        let depth = operand.depth;
        let minus_one = Node { ast: Ast::Literal(Literal::Number(-1.0)), at, depth: 0 };
        self.node(typing::arithmetic(Operator::Multiply, operand, minus_one)?, at, depth)
    }

    fn negation(&mut self) -> Result<Node, ExprError> {
        let at = self.tokens.here();
        self.tokens.skip(1);
        let operand = self.expression(strength::NOT)?;
        let depth = operand.depth;
        let condition = typing::condition(operand, "NOT")?;
        self.node(Ast::Not(Box::new(condition)), at, depth)
    }

    fn word(&mut self) -> Result<Node, ExprError> {
        let called = matches!(self.tokens.peek_at(1), Token::LParen);
        let is = |word| self.tokens.is_word(0, word);
        if is("not") {
            self.negation()
        } else if is("case") {
            self.case()
        } else if called && (is("cast") || is("try_cast")) {
            self.cast()
        } else if called && Function::find(&self.tokens.lower_word()).is_some() {
            self.call()
        } else if called && is("array_contains") {
            self.array_contains()
        } else {
            self.leaf_word(called)
        }
    }

    /// A word that begins nothing which has operands.
    fn leaf_word(&mut self, called: bool) -> Result<Node, ExprError> {
        let at = self.tokens.here();
        let lower = self.tokens.lower_word();
        let before_text = matches!(self.tokens.peek_at(1), Token::SingleQuotedString(_));
        let before_number = matches!(self.tokens.peek_at(1), Token::Number(..));
        match lower.as_str() {
            "true" | "false" => {
                self.tokens.skip(1);
                self.leaf(Literal::Bool(lower == "true"), at)
            }
            "null" => {
                self.tokens.skip(1);
                self.leaf(Literal::NULL, at)
            }
            "now" if called => {
                self.tokens.skip(2);
                self.tokens.expect_token(&Token::RParen)?;
                self.leaf(Literal::Time(self.params.now), at)
            }
            "current_timestamp" if !called => {
                self.tokens.skip(1);
                self.leaf(Literal::Time(self.params.now), at)
            }
            "interval" if before_text || before_number => self.interval(at),
            "timestamp" | "date" | "time" if before_text => self.time_constant(at),
            "select" => Err(subquery(at)),
            "exists" if called => Err(subquery(at)),
            reserved if RESERVED.contains(&reserved) => Err(self.tokens.expected("an expression")),
            aggregate if called && is_aggregate(aggregate) => {
                Err(ExprError::unsupported(format!("the function '{aggregate}' over many rows"), at)
                    .remedy("an expression sees one row at a time; greatest(a, b) and least(a, b) take values of one"))
            }
            _ if called => {
                let hint = did_you_mean(&lower, Function::names());
                Err(ExprError::new(Problem::UnknownFunction { name: lower }, at).remedy(hint))
            }
            _ => self.column(at),
        }
    }

    fn column(&mut self, at: At) -> Result<Node, ExprError> {
        let mut name = String::new();
        loop {
            match self.tokens.peek() {
                Token::Word(word) => name.push_str(&word.value),
                _ => return Err(self.tokens.expected("the name of an attribute")),
            }
            self.tokens.skip(1);
            if !self.tokens.accept_token(&Token::Period) {
                break;
            }
            name.push('.');
        }
        let Some((index, known, data_type)) = self.schema.find(&name) else {
            let hint = self.schema.hint(&name);
            return Err(ExprError::new(Problem::UnknownAttribute { name }, at).remedy(hint));
        };
        let Some(kind) = Kind::of(data_type) else {
            let message = format!("'{name}' holds {data_type} values, which expressions cannot read");
            return Err(ExprError::type_error(message, at));
        };
        let noun = match (kind, data_type) {
            (Kind::Text, arrow_schema::DataType::Dictionary(..)) => "tag",
            (Kind::Text, _) => "text",
            (Kind::Tags, _) => "tags",
            (Kind::Number, _) => "number",
            (Kind::Bool, _) => "bool",
            (Kind::Time, _) => "time",
            (Kind::Interval, _) => "interval",
        };
        let column = Column { index, name: Arc::clone(known), kind, noun };
        self.node(Ast::Column(column), at, 0)
    }

    fn interval(&mut self, at: At) -> Result<Node, ExprError> {
        let length = match self.tokens.peek_at(1) {
            Token::Number(text, _) | Token::SingleQuotedString(text) => text.clone(),
            _ => return Err(self.tokens.expected("an interval")),
        };
        self.tokens.skip(2);
        let unit = match self.tokens.peek() {
            Token::Word(word) if length.trim().parse::<f64>().is_ok() => Some(word.value.clone()),
            _ => None,
        };
        let micros = match unit {
            Some(unit) => {
                self.tokens.skip(1);
                interval::of_unit(length.trim(), &unit)
            }
            None => interval::parse(&length),
        };
        self.leaf(Literal::Interval(micros.map_err(|message| ExprError::constant(message, at))?), at)
    }

    fn time_constant(&mut self, at: At) -> Result<Node, ExprError> {
        let Token::SingleQuotedString(text) = self.tokens.peek_at(1) else {
            return Err(self.tokens.expected("a time"));
        };
        let time: Timestamp = text.parse().map_err(|error| ExprError::constant(format!("{error}"), at))?;
        self.tokens.skip(2);
        self.leaf(Literal::Time(time), at)
    }

    pub(super) fn refuse_query(&self) -> Result<(), ExprError> {
        match self.tokens.is_word(0, "select") {
            true => Err(subquery(self.tokens.here())),
            false => Ok(()),
        }
    }
}

fn subquery(at: At) -> ExprError {
    ExprError::unsupported("a subquery", at).remedy("an expression sees one row at a time; bind values as parameters")
}

pub(super) fn bound(name: &str, bind: &Bind, at: At) -> Result<Literal, ExprError> {
    Ok(match bind {
        Bind::Null(()) => Literal::NULL,
        Bind::Bool(value) => Literal::Bool(*value),
        Bind::Number(value) if value.is_finite() => Literal::Number(*value),
        Bind::Number(value) => return Err(ExprError::constant(format!("parameter ':{name}' is {value}"), at)),
        Bind::Text(value) => Literal::Text(value.as_str().into()),
        Bind::Time(value) => Literal::Time(*value),
        Bind::List(_) => {
            return Err(ExprError::type_error(format!("parameter ':{name}' is a list"), at)
                .remedy(format!("use it as IN (:{name}) or = ANY(:{name}), and do not nest lists")));
        }
    })
}
