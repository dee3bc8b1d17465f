public import CanonicalJSON

/// The part of a result that is malformed, and its fault.
struct ResultFault: Error {
  var structure: String
  var fault: String
}

extension EvaluationResult {
  public var json: JSONValue {
    .members([
      "protocol": .string(protocolName),
      "model": model.map {
        .members([
          "name": .string($0.name), "identity": .string($0.identity), "weights": .string($0.weights),
          "positions": $0.positions.map(JSONValue.string),
        ])
      },
      "settings": .object(settings),
      "columns": .array(columns.map(JSONValue.string)),
      "rows": .array(rows.map(\.json)),
      "notes": .array(notes.map(JSONValue.string)),
      "seconds": .number(seconds),
    ])
  }

  init(_ json: JSONValue) throws(ResultFault) {
    func text(_ value: JSONValue?, _ structure: String) throws(ResultFault) -> String {
      guard let text = value?.string else { throw ResultFault(structure: structure, fault: "is missing or not text") }
      return text
    }
    func texts(_ key: String) throws(ResultFault) -> [String] {
      guard let values = json[key]?.array else { throw ResultFault(structure: key, fault: "is missing or not a list") }
      var result: [String] = []
      for value in values { result.append(try text(value, key)) }
      return result
    }
    guard let settings = json["settings"]?.object else {
      throw ResultFault(structure: "settings", fault: "is missing or not an object")
    }
    guard let rowValues = json["rows"]?.array else {
      throw ResultFault(structure: "rows", fault: "is missing or not a list")
    }
    guard let seconds = json["seconds"]?.number else {
      throw ResultFault(structure: "seconds", fault: "is missing or not a number")
    }
    var model: Model?
    if let json = json["model"] {
      model = Model(
        name: try text(json["name"], "model, name"), identity: try text(json["identity"], "model, identity"),
        weights: try text(json["weights"], "model, weights"),
        positions: try json["positions"].map { (value) throws(ResultFault) in try text(value, "model, positions") })
    }
    var rows: [Row] = []
    for (index, value) in rowValues.enumerated() { rows.append(try Row(value, structure: "rows, entry \(index)")) }
    self.init(
      protocolName: try text(json["protocol"], "protocol"),
      model: model,
      settings: settings, columns: try texts("columns"), rows: rows, notes: try texts("notes"), seconds: seconds)
  }
}

extension EvaluationResult.Row {
  fileprivate var json: JSONValue {
    .members([
      "labels": .object(labels.sorted { $0.key < $1.key }.map { JSONValue.Member($0.key, $0.value.json) }),
      "measures": .object(measures.sorted { $0.key < $1.key }.map { JSONValue.Member($0.key, $0.value.json) }),
    ])
  }

  fileprivate init(_ json: JSONValue, structure: String) throws(ResultFault) {
    guard let labels = json["labels"]?.object, let measures = json["measures"]?.object else {
      throw ResultFault(structure: structure, fault: "has no labels or no measures")
    }
    self.init(labels: [:], measures: [:])
    for member in labels {
      guard let label = Label(member.value) else {
        throw ResultFault(structure: structure, fault: "label \"\(member.key)\" is neither a word nor a number")
      }
      self.labels[member.key] = label
    }
    for member in measures {
      guard let measure = Measure(member.value) else {
        throw ResultFault(structure: structure, fault: "measure \"\(member.key)\" is not a measure")
      }
      self.measures[member.key] = measure
    }
  }
}

extension Label {
  fileprivate var json: JSONValue {
    switch self {
    case .text(let text): .string(text)
    case .number(let number): Int(exactly: number).map(JSONValue.integer) ?? .number(number)
    }
  }

  fileprivate init?(_ json: JSONValue) {
    if let text = json.string {
      self = .text(text)
    } else if let number = json.number {
      self = .number(number)
    } else {
      return nil
    }
  }
}

extension Measure {
  var json: JSONValue {
    .members([
      "value": .number(value), "low": low.map(JSONValue.number), "high": high.map(JSONValue.number),
      "count": count.map(JSONValue.integer),
    ])
  }

  /// Nil when the value is not finite, the interval has one end only, or the count is not a whole number from 0 on.
  fileprivate init?(_ json: JSONValue) {
    guard let value = json["value"]?.number, value.isFinite else { return nil }
    let (low, high, count) = (json["low"]?.number, json["high"]?.number, json["count"]?.integer)
    guard (low == nil) == (high == nil), (low ?? 0).isFinite, (high ?? 0).isFinite,
      (json["count"] == nil) == (count == nil), (count ?? 0) >= 0
    else { return nil }
    self.init(value, low: low, high: high, count: count)
  }
}
