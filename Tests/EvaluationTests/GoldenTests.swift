import Conversion
import Evaluation
import FileAccess
import Testing

/// The numbers of independent implementations, through the ordinary code: convert, open, encode, select, read, decode.
///
/// The committed cases are `Tools/verify/reference/sharedllm.py`'s, plain NumPy; the shared ones another implementation's.
@Suite struct GoldenTests {
  @Test func thereAreCases() {
    #expect(GoldenFolder.committed.count == 14)
  }

  @Test(arguments: GoldenFolder.committed, [1, 2])
  func floatAgrees(_ folder: GoldenFolder, threadCount: Int) throws {
    try Self.expectFloatAgrees(folder, threadCount: threadCount)
  }

  @Test(arguments: GoldenFolder.committed)
  func int8StaysNear(_ folder: GoldenFolder) throws {
    try Self.expectInt8StaysNear(folder)
  }

  /// Every product has its one order, whatever the threads.
  @Test(arguments: GoldenFolder.committed, GoldenCase.Numeric.allCases)
  func threadsChangeNoBit(_ folder: GoldenFolder, _ numeric: GoldenCase.Numeric) throws {
    let golden = try GoldenCase(reading: folder.path)
    let one = try golden.run(numeric, threadCount: 1)
    let two = try golden.run(numeric, threadCount: 2)
    #expect(one.tensors.tensors == two.tensors.tensors)
    #expect(one.trees == two.trees)
    #expect(one.greedy == two.greedy)
  }

  @Test(
    .enabled(if: !GoldenFolder.shared.isEmpty, "../shared/golden is not there"),
    arguments: GoldenFolder.shared, [1, 2])
  func sharedFloatAgrees(_ folder: GoldenFolder, threadCount: Int) throws {
    try Self.expectFloatAgrees(folder, threadCount: threadCount)
  }

  @Test(
    .enabled(if: !GoldenFolder.shared.isEmpty, "../shared/golden is not there"), arguments: GoldenFolder.shared)
  func sharedInt8StaysNear(_ folder: GoldenFolder) throws {
    try Self.expectInt8StaysNear(folder)
  }

  /// What `sharedpack golden --write` leaves is what was computed.
  @Test func writtenTensorsAreReadBack() throws {
    let folder = try #require(GoldenFolder.committed.first)
    let result = try GoldenCase(reading: folder.path).run(.float, threadCount: 1)
    let scratch = try Scratch()
    try result.tensors.write(to: "\(scratch.path)/a.safetensors")
    let read = try SafetensorsFile(reading: "\(scratch.path)/a.safetensors")
    #expect(read.tensors == result.tensors.tensors)
    #expect(read.tensors.count == 9)
    // The same tensors are the same bytes.
    try read.write(to: "\(scratch.path)/b.safetensors")
    let bytes = try ["a", "b"].map { try SequentialFile.contents("\(scratch.path)/\($0).safetensors", limit: 1 << 20) }
    #expect(bytes[0] == bytes[1])
  }

  private static func expectFloatAgrees(_ folder: GoldenFolder, threadCount: Int) throws {
    let golden = try GoldenCase(reading: folder.path)
    let comparison = golden.compare(try golden.run(.float, threadCount: threadCount), .float)
    for difference in comparison.differences {
      #expect(difference.largest <= difference.tolerance, "\(difference.name)")
    }
    #expect(comparison.differences.count == 9)
    #expect(comparison.treesAgree)
    #expect(comparison.greedyAgrees)
    #expect(comparison.isWithinTolerance)
  }

  private static func expectInt8StaysNear(_ folder: GoldenFolder) throws {
    let golden = try GoldenCase(reading: folder.path)
    let comparison = golden.compare(try golden.run(.int8, threadCount: 2), .int8)
    print("int8, \(folder.testDescription): mean divergence \(Float(comparison.meanDivergence)) nats")
    #expect(comparison.meanDivergence <= GoldenComparison.int8DivergenceLimit)
    #expect(comparison.meanDivergence >= 0)
    #expect(comparison.isWithinTolerance)
  }
}

/// Malformed cases are refused by name, and runs that differ are reported.
@Suite struct GoldenFaultTests {
  /// A copy of a case whose `case.json` is changed.
  private func edited(_ edit: (inout String) -> Void) throws -> (Scratch, String) {
    let scratch = try Scratch()
    let folder = try #require(GoldenFolder.committed.first { $0.testDescription == "merged" })
    for name in try Directory.names(in: folder.path) {
      var bytes = try SequentialFile.contents("\(folder.path)/\(name)", limit: 1 << 20)
      if name == "case.json" {
        var text = String(decoding: bytes, as: UTF8.self)
        edit(&text)
        bytes = Array(text.utf8)
      }
      var file = try PublishedFile(creating: "\(scratch.path)/\(name)")
      try file.append(bytes)
      try file.publish()
    }
    return (scratch, scratch.path)
  }

  @Test(arguments: [
    (#""policy": "right""#, #""policy": "up""#, "policy"),
    (#""policy": "right""#, #""polic": "right""#, "policy"),
    (#""running_text": ["#, #""running_text": [0.5, "#, "running_text"),
    (#""path": "L""#, #""pat": "L""#, "trees"),
    (#""chunk_size": 21"#, #""chunk_size": "21""#, "chunk_size"),
  ])
  func malformedCasesAreRefused(_ old: String, _ new: String, structure: String) throws {
    let (scratch, path) = try edited { $0.replace(old, with: new) }
    let refusal = #expect(throws: Refusal.self) { try GoldenCase(reading: path) }
    #expect(refusal?.name.text == "malformed-case")
    #expect(refusal?.structure == structure)
    withExtendedLifetime(scratch) {}
  }

  @Test func tokensOutsideTheVocabularyAreRefused() throws {
    let (scratch, path) = try edited { $0.replace(#""running_text": ["#, with: #""running_text": [48, "#) }
    let golden = try GoldenCase(reading: path)
    let refusal = #expect(throws: Refusal.self) { try golden.run(.float, threadCount: 1) }
    #expect(refusal?.name.text == "token-out-of-range")
    withExtendedLifetime(scratch) {}
  }

  /// A plain checkpoint whose case does not say how contexts are injected takes none.
  @Test func plainCheckpointsNeedOptions() throws {
    let (scratch, path) = try edited {
      for key in ["injected_layers", "chunk_size", "tree_depth", "leaf_ratio"] {
        $0.replace("\"\(key)\"", with: "\"no_\(key)\"")
      }
    }
    let golden = try GoldenCase(reading: path)
    let refusal = #expect(throws: Refusal.self) { try golden.run(.float, threadCount: 1) }
    #expect(refusal?.name.text == "no-injection")
    withExtendedLifetime(scratch) {}
  }

  /// Another policy gives other nodes and other logits: the comparison would notice.
  @Test func differencesAreNoticed() throws {
    let (scratch, path) = try edited { $0.replace(#""policy": "right""#, with: #""policy": "left""#) }
    let golden = try GoldenCase(reading: path)
    let comparison = golden.compare(try golden.run(.float, threadCount: 1), .float)
    #expect(!comparison.treesAgree)
    #expect(!comparison.isWithinTolerance)
    #expect(comparison.meanDivergence > 0.001)
    withExtendedLifetime(scratch) {}
  }
}
