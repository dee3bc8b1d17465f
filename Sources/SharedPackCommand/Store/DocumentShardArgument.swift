import ArgumentParser
import SharedPack

/// A part of a collection of texts, as an argument: its number and how many there are.
struct DocumentShardArgument: ExpressibleByArgument {
  let shard: DocumentShard

  init?(argument: String) {
    let parts = argument.split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count == 2, let number = Int(parts[0]), let count = Int(parts[1]),
      let shard = DocumentShard(number: number, of: count)
    else { return nil }
    self.shard = shard
  }
}
