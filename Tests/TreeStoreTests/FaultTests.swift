import ContextTrees
import FileAccess
import Testing

@testable import TreeStore

/// Whatever system call fails, once or from then on: the error is typed, what was acknowledged is there, what was not
/// is there whole or not at all, and doing it again works.
@Suite struct FaultTests {
  private let chunks = (1...4).map { Fixture.tokens($0) }

  /// Creates a store, adds a document over several segments, replaces another one and collects garbage.
  /// - Returns: the documents that were acknowledged, in `acknowledged`.
  private func work(_ path: String, acknowledged: inout [String: [[Int32]]]) throws(Refusal) {
    var writer = try TreeStoreWriter(
      opening: path, creating: try configuration(), segmentByteLimit: 2_500, salt: nil)
    try writer.add(document: "a", [chunks[0], chunks[1]], replacing: true)
    try writer.commit()
    acknowledged["a"] = [chunks[0], chunks[1]]
    try writer.add(document: "b", chunks, compression: .lz4, compressible: true, replacing: true)
    try writer.add(document: "a", [chunks[3]], replacing: true)
    // From here on either may be seen, until the commit returns.
    acknowledged["a"] = nil
    try writer.commit()
    acknowledged["b"] = chunks
    acknowledged["a"] = [chunks[3]]
    try writer.removeDocument(named: "b")
    acknowledged["b"] = nil
    _ = try writer.collectGarbage()
  }

  private func attempt(_ path: String, acknowledged: inout [String: [[Int32]]]) -> Refusal? {
    do {
      try work(path, acknowledged: &acknowledged)
      return nil
    } catch {
      return error
    }
  }

  private func configuration() throws(Refusal) -> TreeStoreConfiguration {
    do {
      return try Fixture.configuration()
    } catch {
      throw Refusal(.inputOutput, file: "fixture", "\(error)")
    }
  }

  /// Every document that is seen is whole; returns the names.
  private func documents(_ path: String) throws -> [String: [[Int32]]] {
    let store = try TreeStore(opening: path)
    try store.verify { _, _ in }
    var result: [String: [[Int32]]] = [:]
    for document in store.documents {
      result[document.name] = try document.chunks.map { key in
        let chunk = try #require(try store.chunk(key))
        for node in chunk.tree.nodes { _ = try chunk.block(of: node) }
        return chunk.tokens
      }
    }
    return result
  }

  @Test(arguments: [false, true]) func everyCallFails(persistently isPersistent: Bool) throws {
    var number = 0
    while true {
      let place = try Workplace()
      let recorder = Recorder(firstFailure: number, isPersistent: isPersistent)
      var acknowledged: [String: [[Int32]]] = [:]
      var error: Refusal?
      recorder.probing { error = attempt(place.store, acknowledged: &acknowledged) }
      if recorder.failures == 0 { break }
      let operation = recorder.all[number]
      if let error {
        #expect(error.file == "injected" || error.name.text == "writer-failed", "\(operation): \(error)")
      }
      // Before the first commit there may be no store yet; then nothing was acknowledged.
      let seen = (try? documents(place.store)) ?? [:]
      if !acknowledged.isEmpty { _ = try documents(place.store) }
      for (name, tokens) in acknowledged { #expect(seen[name] == tokens, "\(operation)") }
      for (name, tokens) in seen {
        let possible = name == "a" ? [[chunks[0], chunks[1]], [chunks[3]]] : [chunks]
        #expect(possible.contains(tokens), "\(operation)")
      }

      var again: [String: [[Int32]]] = [:]
      try work(place.store, acknowledged: &again)
      #expect(try documents(place.store) == ["a": [chunks[3]]], "\(operation)")
      let leftovers = try Directory.names(in: place.store) + Directory.names(in: "\(place.store)/segments")
      #expect(!leftovers.contains { $0.hasSuffix(".partial") })
      number += 1
    }
    #expect(number > 40)
  }

  /// A writer that failed refuses to go on, whatever is asked of it.
  @Test func failedWriterEnds() throws {
    let place = try Workplace()
    let configuration = try Fixture.configuration()
    var writer = try TreeStoreWriter(opening: place.store, creating: configuration)
    try writer.add(document: "a", [chunks[0]])
    let recorder = Recorder(firstFailure: 0)
    var name: String?
    recorder.probing { name = refusal { () throws(Refusal) in try writer.commit() } }
    #expect(name == "input-output")
    let chunk = Fixture.chunk(chunks[1], configuration)
    #expect(refusal { () throws(Refusal) in try writer.commit() } == "writer-failed")
    #expect(refusal { () throws(Refusal) in _ = try writer.add(chunk, compression: .none) } == "writer-failed")
    #expect(refusal { () throws(Refusal) in try writer.removeDocument(named: "a") } == "writer-failed")
    #expect(refusal { () throws(Refusal) in _ = try writer.collectGarbage() } == "writer-failed")
    #expect(try TreeStore(opening: place.store).documents.isEmpty)
  }

  /// A reader whose generation is removed between its manifest and its segments takes the newest one.
  @Test func readerRetries() throws {
    let place = try Workplace()
    let configuration = try Fixture.configuration()
    do {
      var writer = try TreeStoreWriter(opening: place.store, creating: configuration)
      try writer.add(document: "a", [chunks[0]])
      try writer.commit()
    }
    let isReady = Recorder(firstFailure: 0)
    let path = place.store
    let probe: @Sendable (FileOperation) throws(Refusal) -> Void = { (operation) throws(Refusal) in
      // Once, when the first segment is about to be opened.
      guard case .open(let opened) = operation, opened.hasSuffix(".seg"), isReady.all.isEmpty else { return }
      isReady.note(operation)
      try replaceEverything(path)
    }
    let store = try FileOperation.withProbe(probe) { try TreeStore(opening: path) }
    #expect(isReady.all.count == 1)
    #expect(store.generation == 4)
    #expect(store.documents.map(\.name) == ["b"])
  }
}

private func replaceEverything(_ path: String) throws(Refusal) {
  var writer = try TreeStoreWriter(opening: path, creating: nil)
  try writer.add(document: "b", [Fixture.tokens(9)])
  try writer.removeDocument(named: "a")
  _ = try writer.collectGarbage()
}
