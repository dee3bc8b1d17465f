import ContextTrees
import FaultInjection
import FileAccess
import Testing

@testable import TreeStore

/// A piece of work on a store, and what may be seen of it wherever it ends.
enum StoreWork {
  /// The chunks of a document; nil when it is not there.
  typealias Version = [[Int32]]?
  /// The versions of each document that may be seen: one, or before and after while a commit has not returned.
  typealias Expectation = [String: [Version]]

  static let chunks = (1...4).map { Fixture.tokens($0) }
  static let nothing: Expectation = ["a": [nil], "b": [nil]]
  static let first: Version = [chunks[0], chunks[1]]
  static let second: Version = [chunks[3]]

  /// Kinds of work: what a writer does, on what is there already.
  enum Kind: CaseIterable, Sendable {
    /// Creates a store, adds a document over several segments, replaces it beside another one, and collects garbage.
    case building
    /// Small commits after many, so that segments and tables are merged.
    case merging
    /// Pins a document, forgets another one to its last byte, and puts the store into few files.
    case collecting
    /// Adds documents to a store that is full; the oldest ones make room.
    case limited
    /// Takes up a removal whose manifest is lost, and adds documents.
    case recovering
  }

  /// What the work starts from.
  /// - Returns: what is in the store.
  static func prepare(_ kind: Kind, _ path: String) throws(Refusal) -> Expectation {
    var expected: Expectation = [:]
    guard kind != .building else { return nothing }
    var writer = try TreeStoreWriter(opening: path, creating: configuration())
    func add(_ name: String, _ chunks: [[Int32]]) throws(Refusal) {
      try writer.add(document: name, chunks)
      try writer.commit()
      expected[name] = [chunks]
    }
    switch kind {
    case .building: break
    case .merging:
      for number in 0..<7 { try add("m\(number)", [Fixture.tokens(number)]) }
      for number in 7..<10 { expected["m\(number)"] = [nil] }
    case .collecting:
      try add("a", [chunks[0], chunks[1]])
      try add("b", chunks)
      try add("c", [chunks[2]])
    case .limited:
      writer.setByteLimit(limit)
      for number in 0..<8 { try add("l\(number)", [Fixture.tokens(number)]) }
      for number in 8..<12 { expected["l\(number)"] = [nil] }
    case .recovering:
      try add("a", [chunks[0], chunks[1]])
      try add("b", chunks)
      try writer.removeDocument(named: "a")
      try writer.commit()
      try Directory.removeFile("\(path)/\(StoreFormat.manifestName(writer.generation))")
      expected["a"] = [[chunks[0], chunks[1]], nil]
      for number in 0..<3 { expected["r\(number)"] = [nil] }
    }
    return expected
  }

  private static let limit = 40_000

  /// Does a kind of work; done again, wherever it ended, it ends with the same documents.
  /// - Parameters:
  ///   - start: what may be in the store before.
  ///   - note: called with what may be seen from now on.
  static func run(
    _ kind: Kind, _ path: String, from start: Expectation, note: (Expectation) -> Void = { _ in }
  ) throws(Refusal) {
    guard kind != .building else { return try run(path, from: start, note: note) }
    var expected = start
    func expect(_ versions: Expectation) {
      expected.merge(versions) { $1 }
      note(expected)
    }
    var writer = try TreeStoreWriter(opening: path, creating: nil)
    switch kind {
    case .building: break
    case .merging:
      for number in 7..<10 {
        let (name, version) = ("m\(number)", [Fixture.tokens(number)])
        try writer.add(document: name, version, replacing: true)
        expect([name: (start[name] ?? []) + [version]])
        try writer.commit()
        expect([name: [version]])
      }
    case .collecting:
      try writer.pinDocument(named: "a", true)
      try writer.commit()
      if try writer.document(named: "b") != nil { try writer.removeDocument(named: "b") }
      expect(["b": [chunks, nil]])
      _ = try writer.collectGarbage(.all)
      expect(["b": [nil]])
      _ = try writer.collectGarbage(.compact)
    case .limited:
      let need = try configuration().byteCount(tokens: 8, words: 0) + 400
      for number in 8..<12 {
        let (name, version) = ("l\(number)", [Fixture.tokens(number)])
        if !writer.hasRoom(for: need) {
          let before = expected
          expect(expected.mapValues { $0 + [nil] })
          let removed = try writer.makeRoom(for: need, keeping: name)
          expect(before)
          for old in removed { expect([old: [nil]]) }
        }
        try writer.add(document: name, version, replacing: true)
        expect([name: (expected[name] ?? []) + [version]])
        try writer.commit()
        expect([name: [version]])
      }
    case .recovering:
      expect(["a": [nil]])
      for number in 0..<3 {
        let (name, version) = ("r\(number)", [Fixture.tokens(10 + number)])
        try writer.add(document: name, version, replacing: true)
        expect([name: (start[name] ?? []) + [version]])
        try writer.commit()
        expect([name: [version]])
      }
    }
  }

  /// Creates a store, adds a document over several segments, replaces it beside another one, and collects garbage.
  /// - Parameters:
  ///   - start: what may be in the store before.
  ///   - note: called with what may be seen from now on.
  static func run(
    _ path: String, from start: Expectation = nothing, note: (Expectation) -> Void = { _ in }
  ) throws(Refusal) {
    var expected = start
    func expect(_ versions: Expectation) {
      expected.merge(versions) { $1 }
      note(expected)
    }
    var writer = try TreeStoreWriter(opening: path, creating: configuration(), segmentByteLimit: 2_500)
    try writer.add(document: "a", [chunks[0], chunks[1]], replacing: true)
    expect(["a": (start["a"] ?? []) + [first]])
    try writer.commit()
    expect(["a": [first]])
    try writer.add(document: "b", chunks, compression: .lz4, compressible: true, replacing: true)
    try writer.add(document: "a", [chunks[3]], replacing: true)
    expect(["a": [first, second], "b": (start["b"] ?? []) + [chunks]])
    try writer.commit()
    expect(["a": [second], "b": [chunks]])
    try writer.removeDocument(named: "b")
    expect(["b": [chunks, nil]])
    _ = try writer.collectGarbage()
    expect(["b": [nil]])
  }

  static func configuration() throws(Refusal) -> TreeStoreConfiguration {
    do {
      return try Fixture.configuration()
    } catch {
      throw Refusal(.inputOutput, file: "fixture", "\(error)")
    }
  }

  /// Whether a store is whole and has what is expected.
  /// - Returns: the fault; nil when it is good.
  static func fault(_ path: String, _ expected: Expectation) -> String? {
    let seen: [String: [[Int32]]]
    do throws(Refusal) {
      seen = try documents(path)
    } catch {
      // A store that nothing was committed to need not be there; one that is there is whole.
      let isMissing = error.name == .missingFile || error.name.text == "not-a-store"
      guard isMissing, expected.values.allSatisfy({ $0.contains(nil) }) else { return "\(error)" }
      seen = [:]
    }
    for (name, versions) in expected where !versions.contains(seen[name]) {
      return "\(name) is \(seen[name].map { "\($0)" } ?? "not there")"
    }
    return seen.keys.first { expected[$0] == nil }.map { "\($0) was never added" }
  }

  /// The chunks of each document, all of whose bytes have been checked and read.
  static func documents(_ path: String) throws(Refusal) -> [String: [[Int32]]] {
    var store = try TreeStore(opening: path)
    // A process that ends before the last step of a commit leaves it to the next. `verify` would wait for that one.
    if try StoreRecovery.unfinishedGeneration(in: path, after: store.manifest) != nil {
      _ = try TreeStoreWriter(opening: path, creating: nil)
      store = try TreeStore(opening: path)
    }
    try store.verify()
    var result: [String: [[Int32]]] = [:]
    for document in try store.documents() {
      var tokens: [[Int32]] = []
      for key in try store.chunks(of: document).keys {
        guard let chunk = try store.chunk(key) else { throw Refusal(.missingChunk, file: path, "\(key)") }
        for node in chunk.tree.nodes { _ = try chunk.block(of: node) }
        tokens.append(chunk.tokens)
      }
      result[document.name] = tokens
    }
    return result
  }

  /// Names of files that were to be renamed or removed.
  static func partialFiles(_ path: String) throws -> [String] {
    try [path, "\(path)/segments", "\(path)/catalog"].filter { Directory.exists($0) != nil }
      .flatMap { try Directory.names(in: $0) }.filter { $0.hasSuffix(".partial") }
  }
}
