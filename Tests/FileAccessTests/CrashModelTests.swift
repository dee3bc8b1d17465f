import FaultInjection
import FileAccess
import Testing

/// The power cuts that other tests rely on: what they may lose, and what they may not.
@Suite struct CrashModelTests {
  /// - Returns: what may be left of the work, at every point of its journal, without and with all that is not durable.
  private func states(
    _ work: (_ root: String) throws(Refusal) -> Void
  ) throws -> (lost: [CrashModel.Contents], kept: [CrashModel.Contents]) {
    let workplace = try Workplace()
    let journal = FileJournal()
    try FileOperation.withProbe(journal) { () throws(Refusal) in try work(workplace.path) }
    let model = CrashModel(journal, root: workplace.path)
    let points = 0...journal.count
    return (
      points.map { model.contents(at: $0) { _ in false } }, points.map { model.contents(at: $0) { _ in true } }
    )
  }

  @Test func publishedFile() throws {
    let (lost, kept) = try states { (root) throws(Refusal) in
      var file = try PublishedFile(creating: "\(root)/a")
      try file.append([1])
      try file.append([2, 3])
      try file.publish()
    }
    // Create, a write of all small pieces, fsync, rename, fsync of the directory.
    #expect(!lost.dropLast().contains { !$0.isEmpty })
    #expect(lost.last == ["a": [1, 2, 3]])
    #expect(kept.map { $0.values.first } == [nil, [], [1, 2, 3], [1, 2, 3], [1, 2, 3], [1, 2, 3]])
    #expect(kept.map { $0["a"] != nil } == [false, false, false, false, true, true])
  }

  /// Without a name, nothing is seen of a file before it is whole, whatever the disk keeps; a file that it replaces is
  /// there until then.
  @Test func unnamedFile() throws {
    let (lost, kept) = try states { (root) throws(Refusal) in
      for byte: UInt8 in [1, 2] {
        var file = try PublishedFile(creating: "\(root)/a", unnamed: true)
        try file.append([byte])
        try file.publish()
      }
    }
    // Create, write, fsync, link, fsync of the directory; the same with a link to a temporary name and a rename.
    #expect(lost.map { $0["a"] } == Array(repeating: nil, count: 5) + Array(repeating: [1], count: 6) + [[2]])
    #expect(kept.map { $0["a"] } == Array(repeating: nil, count: 4) + Array(repeating: [1], count: 6) + [[2], [2]])
    #expect(kept.map(\.count) == [0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 1, 1])
  }

  /// A durable name does not make a file's bytes durable, nor the other way round.
  @Test func namesAndBytesAreApart() throws {
    let workplace = try Workplace()
    let root = workplace.path
    let journal = FileJournal()
    try FileOperation.withProbe(journal) { () throws(Refusal) in
      let file = try PublishedFile(creating: "\(root)/a")
      let bytes: [UInt8] = [1, 2]
      try unsafe file.write(bytes.span.bytes.extracting(0..<1), at: 0)
      try Directory.synchronize(root)
      try unsafe file.write(bytes.span.bytes.extracting(1..<2), at: 1)
      try file.resize(to: 4)
    }
    let model = CrashModel(journal, root: root)
    func left(_ kept: Set<Int>) -> [[UInt8]?] { Array(model.contents(at: 5, keeping: kept.contains).values) }
    #expect(left([]) == [[]])
    #expect(left([1]) == [[1]])
    #expect(left([3]) == [[0, 2]])
    #expect(left([1, 4]) == [[1, 0, 0, 0]])
    // The file was given up, and removed: that may be lost, too.
    #expect(journal.count == 6)
    #expect(model.contents(at: 6) { _ in true }.isEmpty)
    #expect(model.contents(at: 6) { _ in false } == model.contents(at: 3) { _ in false })
  }

  @Test func directories() throws {
    let (lost, kept) = try states { (root) throws(Refusal) in
      try Directory.create("\(root)/d")
      var file = try PublishedFile(creating: "\(root)/d/a")
      try file.append([1])
      try file.publish()
      try Directory.synchronize(root)
      try Directory.removeFile("\(root)/d/a")
      try Directory.remove("\(root)/d")
      try Directory.synchronize(root)
    }
    // A file is lost with its directory.
    #expect(lost[6].isEmpty)
    #expect(kept[6] == ["d": nil, "d/a": [1]])
    #expect(lost[7] == ["d": nil, "d/a": [1]])
    #expect(lost[9] == ["d": nil, "d/a": [1]])
    #expect(kept[8] == ["d": nil])
    #expect(lost[10].isEmpty)
  }

  /// What is rebuilt is what the model says.
  @Test func rebuilding() throws {
    let workplace = try Workplace()
    let contents: CrashModel.Contents = ["d": nil, "d/a": [1, 2], "d/e": nil, "b": []]
    try CrashModel.write(contents, into: workplace.path)
    #expect(try Directory.names(in: workplace.path) == ["b", "d"])
    #expect(try Directory.names(in: "\(workplace.path)/d") == ["a", "e"])
    #expect(try SequentialFile.contents("\(workplace.path)/d/a", limit: 2) == [1, 2])
    #expect(Directory.exists("\(workplace.path)/d/e") == .directory)
  }
}
