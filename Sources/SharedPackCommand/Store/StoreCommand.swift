import ArgumentParser
import CanonicalJSON
import SharedPack
import TreeStore

struct StoreCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "store",
    abstract: "Build and maintain stores of encoded documents.",
    subcommands: [Build.self, List.self, Show.self, Remove.self, Statistics.self, Collect.self])
}

extension StoreCommand {
  /// A document, for programs.
  static func json(_ document: StoredDocument, listingChunks: Bool = false) -> JSONValue {
    .members([
      "name": .string(document.name),
      "tokens": .integer(document.tokenCount),
      "chunks": listingChunks
        ? .array(document.chunks.map { .string($0.description) }) : .integer(document.chunks.count),
      "text_bytes": .integer(document.textByteCount),
      "text_sha256": .string(document.textDigest.description),
    ])
  }
}
