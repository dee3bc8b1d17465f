import FileAccess

/// A name such as `model-00001-of-00003.safetensors`.
struct ShardName {
  let text: String
  let prefix: Substring
  /// From 1.
  let number: Int
  /// As it is written, so that shards of one set have equal ones.
  let count: Substring

  init?(_ text: String) {
    guard text.hasSuffix(".safetensors"), !text.hasPrefix(".") else { return nil }
    let stem = text.dropLast(".safetensors".count)
    let parts = stem.split(separator: "-", omittingEmptySubsequences: false)
    func digits(_ part: Substring) -> Bool { 1...9 ~= part.utf8.count && part.utf8.allSatisfy { 48...57 ~= $0 } }
    guard parts.count >= 4, parts[parts.count - 2] == "of", let count = parts.last, digits(count),
      digits(parts[parts.count - 3]), let number = Int(parts[parts.count - 3])
    else { return nil }
    self.text = text
    prefix = stem[..<parts[parts.count - 4].endIndex]
    self.number = number
    self.count = count
  }

  /// The shards that make up a checkpoint, in their order; empty when there are none. One whose set is not the only one
  /// is taken where it is called `model`.
  /// - Parameter names: of all files in a directory.
  /// - Throws: `Refusal` `missing-file` when one of them is not there; `malformed-shard-index` when it is not clear which
  ///   to take.
  static func checkpoint(_ names: [String], directory: String) throws(Refusal) -> [String] {
    let sets = Dictionary(grouping: names.compactMap(ShardName.init)) { "\($0.prefix)-…-of-\($0.count)" }
    let ofModel = sets.filter { $0.value[0].prefix == "model" }
    guard let shards = (sets.count == 1 ? sets : ofModel).first?.value else {
      guard sets.isEmpty else { throw severalSets(sets.keys, directory: directory) }
      return []
    }
    guard sets.count == 1 || ofModel.count == 1 else { throw severalSets(ofModel.keys, directory: directory) }
    let count = Int(shards[0].count) ?? 0
    let known = Set(shards.map(\.number))
    if let missing = (1...max(count, 1)).first(where: { !known.contains($0) }) {
      throw Refusal(
        .missingFile, file: directory,
        "holds \(shards.count) of the \(count) shards \(shards[0].prefix)-…-of-\(shards[0].count).safetensors: number "
          + "\(missing) is missing")
    }
    guard shards.count == count else {
      throw Refusal(
        .malformedShardIndex, file: directory,
        "holds \(shards.count) shards whose names say that there are \(count)")
    }
    return shards.sorted { $0.number < $1.number }.map(\.text)
  }

  private static func severalSets(_ names: some Collection<String>, directory: String) -> Refusal {
    Refusal(
      .malformedShardIndex, file: directory,
      "holds more than one set of shards and no \(SafetensorsWeights.indexName): \(names.sorted().joined(separator: ", "))"
    )
  }
}
