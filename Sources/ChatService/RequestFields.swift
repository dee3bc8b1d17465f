import CanonicalJSON

/// The fields of a request, each of which is read with its type and bounds. Fields that nobody asks for are ignored, as
/// clients send more of them every year; null is as if the field were not there.
struct RequestFields {
  private let object: JSONValue
  /// What stands before the names of fields in messages, such as `messages[2].`.
  private let place: String

  /// The body of a request.
  /// - Throws: `RequestFault` when it is not an object in JSON.
  init(parsing body: [UInt8]) throws(RequestFault) {
    let value: JSONValue
    do throws(JSONError) {
      value = try JSONValue(parsing: body, depthLimit: 16)
    } catch {
      throw RequestFault(400, "invalid_json", "the body is not JSON: \(error)")
    }
    try self.init(value, at: "")
  }

  /// - Parameter place: what the value is in the request; empty for all of it.
  init(_ value: JSONValue, at place: String) throws(RequestFault) {
    guard case .object = value else {
      throw place.isEmpty
        ? RequestFault(400, "invalid_json", "the body is not an object") : .invalid(place, "is not an object")
    }
    object = value
    self.place = place.isEmpty ? "" : "\(place)."
  }

  func name(of field: String) -> String { place + field }

  /// A field as it is; nil if it is not there or null.
  subscript(field: String) -> JSONValue? {
    guard let value = object[field], value != .null else { return nil }
    return value
  }

  func string(_ field: String, atMost limit: Int = 1 << 20) throws(RequestFault) -> String? {
    guard let value = self[field] else { return nil }
    guard let string = value.string else { throw .invalid(name(of: field), "is not a string") }
    guard string.utf8.count <= limit else { throw .invalid(name(of: field), "has more than \(limit) bytes") }
    return string
  }

  func boolean(_ field: String) throws(RequestFault) -> Bool? {
    guard let value = self[field] else { return nil }
    guard let boolean = value.boolean else { throw .invalid(name(of: field), "is not true or false") }
    return boolean
  }

  func integer(_ field: String, in range: ClosedRange<Int>) throws(RequestFault) -> Int? {
    guard let value = self[field] else { return nil }
    guard let integer = value.integer, range.contains(integer) else {
      let bounds =
        range.upperBound == .max
        ? "of at least \(range.lowerBound)" : "from \(range.lowerBound) to \(range.upperBound)"
      throw .invalid(name(of: field), "is not a whole number \(bounds)")
    }
    return integer
  }

  func number(_ field: String, in range: ClosedRange<Double>) throws(RequestFault) -> Double? {
    guard let value = self[field] else { return nil }
    guard let number = value.number, range.contains(number) else {
      throw .invalid(name(of: field), "is not a number from \(range.lowerBound) to \(range.upperBound)")
    }
    return number
  }

  func array(_ field: String, atMost limit: Int) throws(RequestFault) -> [JSONValue]? {
    guard let value = self[field] else { return nil }
    guard let array = value.array else { throw .invalid(name(of: field), "is not an array") }
    guard array.count <= limit else { throw .invalid(name(of: field), "has more than \(limit) elements") }
    return array
  }

  /// A string, or several.
  func strings(_ field: String, atMost limit: Int, byteLimit: Int) throws(RequestFault) -> [String]? {
    guard let value = self[field] else { return nil }
    if let string = value.string, string.utf8.count <= byteLimit { return [string] }
    guard value.string == nil, let array = try array(field, atMost: limit) else {
      throw .invalid(name(of: field), "has more than \(byteLimit) bytes")
    }
    var strings: [String] = []
    for (number, element) in array.enumerated() {
      guard let string = element.string, string.utf8.count <= byteLimit else {
        throw .invalid("\(name(of: field))[\(number)]", "is not a string of at most \(byteLimit) bytes")
      }
      strings.append(string)
    }
    return strings
  }

  /// - Throws: `RequestFault` when a field asks for something that is not there.
  func refuse(_ field: String, unless isHarmless: (JSONValue) -> Bool, _ fault: String) throws(RequestFault) {
    if let value = self[field], !isHarmless(value) { throw .unsupported(name(of: field), fault) }
  }
}
