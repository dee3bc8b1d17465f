import ArgumentParser
import CanonicalJSON
import SharedPack
import TreeStore

extension StoreCommand {
  struct Collect: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "gc", abstract: "Free the space of chunks that no document uses.",
      discussion: """
        sharedpack store gc library
        sharedpack store gc library --all

        Files of which more than half is used are kept as they are, unless --all is
        given: then nothing of a removed text is left. What cannot be read is kept, and so
        is what a store's limit leaves no room to write anew.
        """)

    @Argument(help: "The store.", completion: .directory)
    var store: String

    @Flag(help: "Leave nothing of what no document uses.")
    var all = false

    @OptionGroup var output: JSONOption

    func run() throws {
      CollectionReport.print(
        try DocumentStore.collectGarbage(in: store, all ? .all : .wasteful), store: store, json: output.json)
    }
  }

  struct Compact: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Put a store into few files, without what no document uses.",
      discussion: """
        sharedpack store compact library

        Readers are not disturbed: they keep what they have open. Needs the space of what
        is written anew until it is done; a store that has a limit keeps it all the while,
        and what there is no room for is kept as it is.
        """)

    @Argument(help: "The store.", completion: .directory)
    var store: String

    @OptionGroup var output: JSONOption

    func run() throws {
      CollectionReport.print(
        try DocumentStore.collectGarbage(in: store, .compact), store: store, json: output.json)
    }
  }
}

/// What freed space, for people and programs.
private enum CollectionReport {
  static func print(_ report: GarbageReport, store: String, json: Bool) {
    if json {
      Console.output(
        .members([
          "freed_bytes": .integer(report.freedByteCount), "removed_chunks": .integer(report.removedChunks),
          "dropped_segments": .integer(report.droppedSegments),
          "rewritten_segments": .integer(report.rewrittenSegments),
          "damaged_chunks": .integer(report.damagedChunks),
          "unreadable_segments": .integer(report.unreadableSegments),
          "unknown_files": .integer(report.unknownFiles),
          "files_without_room": .integer(report.filesWithoutRoom),
          "missing_bytes": .integer(report.missingByteCount),
        ]))
      return
    }
    Console.output(
      "freed \(Format.bytes(report.freedByteCount)): \(Format.count(report.removedChunks, "chunk")), "
        + "\(Format.count(report.droppedSegments, "segment")) dropped, \(report.rewrittenSegments) rewritten")
    if report.damagedChunks + report.unreadableSegments > 0 {
      Console.error(
        "sharedpack: \(store): kept what cannot be read: \(Format.count(report.damagedChunks, "chunk")), "
          + "\(Format.count(report.unreadableSegments, "segment")); build their texts again")
    }
    if report.unknownFiles > 0 {
      Console.error(
        "sharedpack: \(store): kept \(Format.count(report.unknownFiles, "file")) that no generation knows; "
          + "`sharedpack store repair` says what they are")
    }
    if report.filesWithoutRoom > 0 {
      Console.error(
        "sharedpack: \(store): kept \(Format.count(report.filesWithoutRoom, "file")) for want of room under the store's "
          + "limit: \(Format.bytes(report.missingByteCount)) more would do for the next (store build --max-bytes, or "
          + "remove documents)")
    }
  }
}
