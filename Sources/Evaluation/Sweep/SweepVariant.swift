import CanonicalJSON
import ContextTrees
import LlamaRuntime
import ModelPacks
import NodeBlocks

/// One way to read contexts: the default with one factor changed.
struct SweepVariant: Hashable {
  var sharedLLM: SharedLLMConfiguration
  /// For the perplexity of texts.
  var search: TreeSearch
  /// For questions.
  var taskSearch = TreeSearch.standard
  var encoding: RowEncoding
  var runningText: Int
  var levels = RowLevels.geometric

  /// The default with another value of a factor.
  /// - Returns: nil when the factor has no such value.
  func changing(_ factor: SweepConfiguration.Factor, to value: JSONValue) -> SweepVariant? {
    var variant = self
    func number(_ change: (inout SweepVariant, Int) -> Void) -> SweepVariant? {
      guard let number = value.integer, number > 0, number <= 1 << 20 else { return nil }
      change(&variant, number)
      return variant
    }
    switch factor {
    case .depth:
      return number {
        // The same rows for each node: twice the ratio in half as many levels.
        let rows = $0.sharedLLM.leafRatio << $0.sharedLLM.treeDepth
        $0.sharedLLM.leafRatio = max(rows >> min($1, 40), 1)
        $0.sharedLLM.treeDepth = $1
      }
    case .leafRatio: return number { $0.sharedLLM.leafRatio = $1 }
    case .injectedLayers: return number { $0.sharedLLM.injectedLayerCount = $1 }
    case .chunkSize: return number { $0.sharedLLM.chunkSize = $1 }
    case .runningText: return number { $0.runningText = $1 }
    case .positions:
      guard let mode = value.string.flatMap(PositionMode.init(rawValue:)) else { return nil }
      variant.sharedLLM.positionMode = mode
    case .policy:
      guard let policy = SearchPolicy(sweepName: value) else { return nil }
      variant.setSearch(TreeSearch(policy))
    case .rows:
      guard let encoding = RowEncoding(sweepName: value) else { return nil }
      variant.encoding = encoding
    case .levels:
      guard let levels = value.string.flatMap(RowLevels.init(rawValue:)) else { return nil }
      variant.levels = levels
    case .similarity:
      guard let policy = SearchPolicy(sweepName: value), policy.looksAtQuery else { return nil }
      variant.setSearch(TreeSearch(policy))
    case .expansion:
      guard let expansion = value.string.flatMap(TreeExpansion.init(name:)) else { return nil }
      variant.setSearch(TreeSearch(.cosine, expansion: expansion))
    }
    return variant
  }

  private mutating func setSearch(_ search: TreeSearch) {
    self.search = search
    taskSearch = search
  }

  /// How a table marks the variant if it is the default, or the default of one use.
  func remark(default base: SweepVariant) -> String? {
    switch (search == base.search, taskSearch == base.taskSearch) {
    case (true, true): self == base ? "default" : nil
    case (true, false): "default for perplexity"
    case (false, true): "default for tasks"
    case (false, false): nil
    }
  }

  /// The variant's value of a factor.
  func value(of factor: SweepConfiguration.Factor) -> Label {
    switch factor {
    case .depth: Label(sharedLLM.treeDepth)
    case .leafRatio: Label(sharedLLM.leafRatio)
    case .injectedLayers: Label(sharedLLM.injectedLayerCount)
    case .chunkSize: Label(sharedLLM.chunkSize)
    case .runningText: Label(runningText)
    case .positions: .text(sharedLLM.positionMode.rawValue)
    case .policy, .similarity: .text(search.policy.name)
    case .rows: .text("\(encoding)")
    case .levels: .text(levels.rawValue)
    case .expansion: .text(search.expansion.description)
    }
  }

  /// The values of a factor around the default that a model can have without being trained anew.
  func usualValues(of factor: SweepConfiguration.Factor, scored: Int) -> [JSONValue] {
    func sizes(_ sizes: [Int], where holds: (Int) -> Bool) -> [JSONValue] { sizes.filter(holds).map(JSONValue.integer) }
    switch factor {
    case .depth: return sizes([1, 2, 3, 4, 5]) { 1 << $0 <= sharedLLM.chunkSize }
    case .leafRatio: return sizes([1, 2, 4, 8, 16, 32]) { $0 <= sharedLLM.chunkSize }
    case .injectedLayers:
      return sizes([1, 2, 4, 8, 16, sharedLLM.injectedLayerCount].sorted()) { $0 <= sharedLLM.injectedLayerCount }
        .reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
    case .chunkSize:
      let size = sharedLLM.chunkSize
      return sizes([size / 4, size / 2, size, size * 2]) { $0 >= 1 << sharedLLM.treeDepth }
    case .runningText: return sizes([runningText / 4, runningText / 2, runningText]) { $0 > scored }
    case .positions: return PositionMode.allCases.map { .string($0.rawValue) }
    case .policy: return ["right", "left", "random", "cosine"].map(JSONValue.string)
    case .rows:
      return [RowEncoding.float32, .float16, .int8, .int4].map { .string("\($0)") }
    case .levels: return RowLevels.allCases.map { .string($0.rawValue) }
    case .similarity: return ["cosine", "dot", "distance", "centred", "bm25"].map(JSONValue.string)
    case .expansion:
      return ["path", "both:0.25", "none:0.25", "best-first:0.75", "best-first", "best-first:1.5"].map(JSONValue.string)
    }
  }
}
