/// A kind of invented fact: `{name}` and `{value}` are filled in.
///
/// Each is one that a small model can answer about when it is given nothing but the statement (the manner `sentence` of
/// the evaluation): a question that it fails even so says nothing about how a text is read.
struct FactKind: Sendable {
  /// For tables.
  let label: String
  let statement: String
  /// Behind the first statement of a fact that changes.
  let change: String
  let question: String
  /// No two share a word, of no two kinds are any the same.
  let values: [String]

  static let all = [
    FactKind(
      label: "number", statement: "By the way, {name}'s lucky number is {value}, as everybody in the village knew.",
      change: "Since that day {name}'s lucky number is {value}.", question: "What is {name}'s lucky number?",
      values: [
        "17", "38", "56", "79", "93", "127", "159", "204", "271", "347", "412", "498", "567", "634", "708", "796",
        "869", "951",
      ]),
    FactKind(
      label: "dog", statement: "It should be said that the dog of {name} was called {value}.",
      change: "Later {name} gave the dog another name: the dog of {name} was now called {value}.",
      question: "What is the dog of {name} called?",
      values: ["Barnaby", "Pepper", "Trixie", "Wolfram", "Nugget", "Domino", "Dulcie", "Rufus", "Marbles", "Tansy"]),
    FactKind(
      label: "birthplace", statement: "Nobody had forgotten that {name} was born in the town of {value}.",
      change: "The parish book was mended later: {name} was born in the town of {value}.",
      question: "In which town was {name} born?",
      values: [
        "Lisbon", "Aberdeen", "Trieste", "Bergen", "Smyrna", "Dresden", "Calcutta", "Quebec", "Palermo", "Tunis",
        "Galway", "Utrecht",
      ]),
    FactKind(
      label: "door", statement: "The front door of {name}'s house was {value}.",
      change: "In autumn the front door of {name}'s house was painted anew, and was {value} from then on.",
      question: "What colour was the front door of {name}'s house?",
      values: ["turquoise", "crimson", "orange", "silver", "emerald", "purple", "brown"]),
    FactKind(
      label: "fear", statement: "People said that {name} was terribly afraid of {value}.",
      change: "All that had changed: {name} was now terribly afraid of {value}.",
      question: "What was {name} afraid of?",
      values: ["owls", "thunder", "mirrors", "spiders", "bridges", "clocks", "geese", "needles", "moths", "ladders"]),
    FactKind(
      label: "key", statement: "{name} hid the key of the cellar in a {value}.",
      change: "After the burglary {name} hid the key of the cellar in a {value}.",
      question: "Where did {name} hide the key of the cellar?",
      values: ["teapot", "violin", "boot", "birdcage", "drum", "globe", "cushion", "lantern", "helmet", "barometer"]),
    FactKind(
      label: "language", statement: "To everyone's surprise {name} could speak {value}.",
      change: "That was a mistake: the language that {name} could speak was {value}.",
      question: "Which language could {name} speak?",
      values: [
        "Portuguese", "Swedish", "Arabic", "Greek", "Hungarian", "Turkish", "Welsh", "Persian", "Danish", "Finnish",
      ]),
    FactKind(
      label: "ship", statement: "{name} came home on a ship called the {value}.",
      change: "A letter put it right: the ship on which {name} came home was called the {value}.",
      question: "What was the name of the ship on which {name} came home?",
      values: [
        "Albatross", "Perseverance", "Swallow", "Minerva", "Thistle", "Neptune", "Halcyon", "Bluebell", "Corsair",
        "Pelican",
      ]),
    FactKind(
      label: "day", statement: "The aunt of {name} came for tea every {value}.",
      change: "From that summer on the aunt of {name} came for tea every {value}.",
      question: "On which day did the aunt of {name} come for tea?",
      values: ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]),
    FactKind(
      label: "room", statement: "At the hotel {name} slept in room {value}.",
      change: "The next night {name} moved, and slept in room {value} of the hotel.",
      question: "In which room of the hotel did {name} sleep?",
      values: [
        "23", "41", "64", "82", "108", "145", "166", "238", "316", "389", "455", "523", "612", "671", "752", "823",
        "914",
      ]),
    FactKind(
      label: "pet", statement: "In the garden {name} kept a {value}, of which the children were very fond.",
      change: "It did not live long, and then {name} kept a {value} in the garden.",
      question: "Which animal did {name} keep in the garden?",
      values: [
        "parrot", "tortoise", "monkey", "goat", "falcon", "hedgehog", "donkey", "squirrel", "raven", "ferret",
      ]),
    FactKind(
      label: "colour", statement: "The favourite colour of {name} was {value}.",
      change: "With the years that changed, and the favourite colour of {name} was {value}.",
      question: "What was the favourite colour of {name}?",
      values: ["ochre", "violet", "magenta", "ivory", "indigo", "scarlet", "yellow"]),
  ]
}

/// An invented fact.
struct Fact {
  let kind: FactKind
  let name: String
  /// The kind's, in the order in which they are taken.
  let values: [String]

  var statement: String { filled(kind.statement, values[0]) }
  /// A later statement, of the second value.
  var change: String { filled(kind.change, values[1]) }
  var question: String { filled(kind.question, "") }

  private func filled(_ text: String, _ value: String) -> String {
    text.split(separator: "{name}", omittingEmptySubsequences: false).joined(separator: name)
      .split(separator: "{value}", omittingEmptySubsequences: false).joined(separator: value)
  }
}
