import FileAccess
import LlamaRuntime
import ModelPacks
import Testing

@testable import SharedPack
@testable import TreeStore

/// What a damaged record had is encoded again from its tokens, and then the store has what it had.
@Suite struct StoreHealingTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private func export(_ path: String) throws -> [UInt8] {
    final class Bytes { var all: [UInt8] = [] }
    let bytes = Bytes()
    _ = try StoreExport.write(try TreeStore(opening: path)) { (piece, _) throws(Refusal) in bytes.all += piece }
    return bytes.all
  }

  @Test(arguments: ["trees", "deep", "exact"]) func fromTokens(_ reading: String) throws {
    let tiny = reading == "trees" ? TinyModel() : TinyModel(injection: .none, window: 4096)
    let model = try tiny.open(in: scratch)
    let library = "\(scratch.path)/library-\(UInt64.random(in: .min ... .max))"
    let text = String(repeating: "the hen ate seven ants. a fox ran. ", count: reading == "trees" ? 9 : 70)
    let sources = try ["one", "two"].map {
      DocumentSource(name: $0, path: try scratch.write("\($0) \(text)", to: "\($0).txt"))
    }
    do {
      var builder =
        switch reading {
        case "trees": try StoreBuilder(opening: library, model: model)
        case "deep": try StoreBuilder(deeply: library, model: model, reading: DeepReading(chunkSize: 64))
        default: try StoreBuilder(exactly: library, model: model)
        }
      for source in sources { _ = try builder.add(source) }
    }
    let whole = try export(library)
    // Rows of all chunks are damaged.
    let store = try TreeStore(opening: library)
    for file in store.segments.files {
      let segment = try file.segment()
      var bytes = try SequentialFile.contents(segment.path, limit: 1 << 28)
      for number in 0..<segment.index.count {
        if let block = try StoredRecord(in: segment, at: number).layout.blocks.last { bytes[block.lowerBound] ^= 1 }
      }
      try Directory.removeFile(segment.path)
      var damaged = try PublishedFile(creating: segment.path)
      try damaged.append(bytes)
      try damaged.publish()
    }
    let report = try StoreRepair.repair(library)
    #expect(report.incompleteDocuments.map(\.name) == ["one", "two"])
    #expect(report.readableTokens.count == report.missingChunkCount && report.missingChunkCount > 2)
    do {
      var healing = try ChunkHealing(library, model: model)
      #expect(try healing.encode(report.readableTokens) == report.missingChunkCount)
    }
    #expect(try StoreRepair.examine(library).faults.isEmpty)
    try TreeStore(opening: library).verify()
    #expect(try export(library) == whole)
    // And the texts find it so.
    var builder = try StoreBuilder(continuing: library, model: model)
    for source in sources { #expect(try builder.add(source).outcome == .unchanged) }
  }

  /// A lost segment takes the tokens with it; a text that is kept brings them back.
  @Test(arguments: ["trees", "deep"]) func fromKeptTexts(_ reading: String) throws {
    let tiny = reading == "trees" ? TinyModel() : TinyModel(injection: .none, window: 4096)
    let model = try tiny.open(in: scratch)
    let library = "\(scratch.path)/kept-\(reading)"
    let text = String(repeating: "the hen ate seven ants. a fox ran. ", count: 9)
    let sources = try ["kept", "lost"].map {
      DocumentSource(name: $0, path: try scratch.write("\($0) \(text)", to: "\($0).txt"))
    }
    do {
      var builder = try StoreBuilder(opening: library, model: model)
      builder.keepsTexts = true
      _ = try builder.add(sources[0])
      builder.keepsTexts = false
      _ = try builder.add(sources[1])
    }
    let whole = try export(library)
    for file in try TreeStore(opening: library).segments.files {
      try Directory.removeFile("\(library)/segments/\(file.reference.digest).seg")
    }
    let report = try StoreRepair.repair(library)
    #expect(report.incompleteDocuments.map(\.name) == ["kept", "lost"] && report.readableTokens.isEmpty)
    do {
      var builder = try StoreBuilder(continuing: library, model: model)
      #expect(try builder.encodeAgain("kept")?.outcome == .repaired)
      #expect(try builder.encodeAgain("lost") == nil)
      #expect(try builder.encodeAgain("never there") == nil)
      try builder.commit()
    }
    #expect(try StoreRepair.examine(library).incompleteDocuments.map(\.name) == ["lost"])
    var builder = try StoreBuilder(continuing: library, model: model)
    #expect(try builder.add(sources[1]).outcome == .repaired)
    #expect(try export(library) == whole)
  }

  @Test func shards() {
    #expect(["book", "letters/1.txt", "ä"].map { DocumentShard.number(of: $0, count: 4) } == [2, 4, 1])
    #expect(DocumentShard(number: 0, of: 4) == nil && DocumentShard(number: 5, of: 4) == nil)
    let shards = (1...5).compactMap { DocumentShard(number: $0, of: 5) }
    for number in 0..<1_000 { #expect(shards.count { $0.contains("\(number)") } == 1) }
    for shard in shards { #expect((0..<1_000).count { shard.contains("\($0)") } > 100) }
  }
}
