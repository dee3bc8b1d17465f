package import ArgumentParser
package import ModelPacks

/// How rotary positions are scaled in place of a pack's own scaling, as options.
package struct PositionArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Read beyond the trained window with other rotary positions than the pack's: none, linear, ntk, dynamic-ntk, yarn or llama3.",
      discussion: "The window grows by --rope-factor. What is stored belongs to one scaling.", valueName: "rule"))
  package var ropeScaling: NameArgument<PositionScaling.Rule>?

  @Option(help: ArgumentHelp("How many times the window grows.", valueName: "factor"))
  package var ropeFactor: Double?

  @Option(help: ArgumentHelp("The window that grows. (default: the pack's)", valueName: "tokens"))
  package var ropeOriginal: Int?

  package init() {}

  package func validate() throws {
    guard let ropeScaling, ropeScaling.value != .none else {
      guard ropeFactor == nil, ropeOriginal == nil else {
        throw ValidationError("--rope-factor and --rope-original are for a --rope-scaling other than none.")
      }
      return
    }
    guard let ropeFactor else {
      throw ValidationError("--rope-scaling \(ropeScaling.value.rawValue) needs --rope-factor.")
    }
    guard ropeFactor >= 1, ropeFactor.isFinite, ropeOriginal.map({ $0 > 0 }) ?? true else {
      throw ValidationError("--rope-factor and --rope-original must be 1 or more.")
    }
  }

  package var positions: PositionScaling? {
    ropeScaling.map { PositionScaling($0.value, factor: ropeFactor ?? 1, originalPositionCount: ropeOriginal) }
  }
}
