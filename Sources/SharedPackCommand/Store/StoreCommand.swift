import ArgumentParser
import CanonicalJSON
import SharedPack
import TreeStore

struct StoreCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "store",
    abstract: "Build and maintain stores of encoded documents.",
    subcommands: [
      Build.self, List.self, Show.self, Remove.self, Pin.self, Unpin.self, Statistics.self, Collect.self, Compact.self,
      Check.self, Repair.self, Salvage.self, Merge.self, Export.self, Import.self, Plan.self,
    ])
}

extension StoreCommand {
  /// A document, for programs.
  static func json(_ document: StoredDocument, listing chunks: DocumentChunks? = nil) -> JSONValue {
    var members = [
      JSONValue.Member("name", .string(document.name)),
      JSONValue.Member("tokens", .integer(document.tokenCount)),
      JSONValue.Member(
        "chunks",
        chunks.map { .array($0.keys.map { .string($0.description) }) } ?? .integer(document.chunkCount)),
      JSONValue.Member("text_bytes", .integer(document.textByteCount)),
      JSONValue.Member("text_sha256", .string(document.textDigest.description)),
      JSONValue.Member("pinned", .boolean(document.isPinned)),
      JSONValue.Member("text_kept", .boolean(document.keepsText)),
    ]
    if let chunks, !chunks.textByteCounts.isEmpty {
      members.append(JSONValue.Member("chunk_bytes", .array(chunks.textByteCounts.map { .integer($0) })))
    }
    if !document.metadata.isEmpty { members.append(JSONValue.Member("metadata", .string(document.metadata))) }
    return .object(members)
  }
}
