// A parsed template. Names are numbers into the template's table of names, frames numbers into its table of frames.

typealias NameID = Int
typealias FrameID = Int

struct Statement: Sendable {
  let line: Int
  let kind: Kind

  indirect enum Kind: Sendable {
    case text([UInt32])
    case output(Expression)
    case conditional([(test: Expression, body: [Statement])], otherwise: [Statement])
    case loop(Loop)
    case assign(Target, Expression)
    case assignBlock(Target, filters: [Postfix], body: [Statement], frame: FrameID)
    case macro(Macro)
    /// Without a call: a block that just renders its body (`generation`).
    case callBlock(Macro, call: Expression?)
    case filterBlock([Postfix], body: [Statement], frame: FrameID)
    case with([(target: Target, value: Expression)], body: [Statement], frame: FrameID)
    case leaveLoop
    case nextIteration
  }
}

struct Loop: Sendable {
  let target: Target
  let sequence: Expression
  let test: Expression?
  let isRecursive: Bool
  let body: [Statement]
  let otherwise: [Statement]
  /// The name `loop`, if the body uses it.
  let loopName: NameID?
  let frame: FrameID
  let testFrame: FrameID
  let otherwiseFrame: FrameID
}

struct Macro: Sendable {
  /// Call blocks have none.
  let name: NameID?
  let parameters: [NameID]
  /// Of the last parameters.
  let defaults: [Expression]
  let body: [Statement]
  let frame: FrameID
  /// Whether the body refers to `caller`.
  let usesCaller: Bool
  /// The names `caller`, `kwargs` and `varargs`, if the body refers to them and they are not among the parameters.
  let caller: NameID?
  let keywords: NameID?
  let rest: NameID?
}

indirect enum Target: Sendable {
  case name(NameID)
  case attribute(of: NameID, String)
  case tuple([Target])
}

enum Constant: Sendable {
  case none
  case boolean(Bool)
  case integer(Int)
  case float(Double)
  case text([UInt32])
}

/// Chains of operators are lists, so that long ones are not deep.
indirect enum Expression: Sendable {
  case constant(Constant)
  case name(NameID)
  case list([Expression])
  case tuple([Expression])
  case mapping([(key: Expression, value: Expression)])
  case not(Expression)
  case negative(Expression)
  case positive(Expression)
  case and([Expression])
  case or([Expression])
  case concatenation([Expression])
  case arithmetic(Expression, [(operation: Arithmetic, operand: Expression)])
  case comparison(Expression, [(operation: Comparison, operand: Expression)])
  case conditional(test: Expression, then: Expression, otherwise: Expression?)
  case postfix(Expression, [Postfix])
}

enum Arithmetic: String, Sendable {
  case add = "+"
  case subtract = "-"
  case multiply = "*"
  case divide = "/"
  case floorDivide = "//"
  case remainder = "%"
  case power = "**"
}

enum Comparison: String, Sendable {
  case equal = "=="
  case notEqual = "!="
  case less = "<"
  case lessOrEqual = "<="
  case greater = ">"
  case greaterOrEqual = ">="
  case isIn = "in"
  case isNotIn = "not in"
}

/// What follows an operand.
indirect enum Postfix: Sendable {
  case attribute(String)
  case item(Expression)
  case slice(start: Expression?, stop: Expression?, step: Expression?)
  case call(CallArguments)
  case filter(String, CallArguments)
  case test(String, CallArguments, isNegated: Bool)
}

struct CallArguments: Sendable {
  var positional: [Expression] = []
  var keywords: [(name: String, value: Expression)] = []
  var rest: Expression?
  var keywordRest: Expression?

  var all: [Expression] {
    positional + keywords.map(\.value) + [rest, keywordRest].compactMap { $0 }
  }
}
